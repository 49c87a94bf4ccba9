-- Add a worker's measurement to the exponentially weighted throughput of a queue.
-- KEYS: throughput. ARGV: queue, images, seconds of work, seconds of work in which a measurement decays to 1/e,
-- most seconds believed, lowest and highest rate believed.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local images, seconds = tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local old_images, old_seconds = string.match(stored, '^([%d.e+-]+) ([%d.e+-]+)$')
old_images, old_seconds = tonumber(old_images), tonumber(old_seconds)
-- A value that another program wrote is replaced.
if old_images and old_seconds and old_seconds > 0 and old_seconds <= tonumber(ARGV[5])
   and old_images / old_seconds >= tonumber(ARGV[6]) and old_images / old_seconds <= tonumber(ARGV[7]) then
  local decay = math.exp(-seconds / tonumber(ARGV[4]))
  images, seconds = images + old_images * decay, seconds + old_seconds * decay
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.9g %.9g', images, seconds))
return 1
