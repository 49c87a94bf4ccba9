-- Add what a worker did to the rate of a queue; what was done before counts for less and less.
-- KEYS: rates. ARGV: queue, images, seconds they took, seconds after which a measurement has faded to 1/e.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local images, seconds = tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local before, over = string.match(kept, '^([%d.e+-]+) ([%d.e+-]+)$')
before, over = tonumber(before), tonumber(over)
-- Whatever somebody else wrote there is measured anew.
if before and over and before >= 0 and before < 1e12 and over > 0 and over < 1e12 then
  local fading = math.exp(-seconds / tonumber(ARGV[4]))
  images, seconds = images + before * fading, seconds + over * fading
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.9g %.9g', images, seconds))
return 1
