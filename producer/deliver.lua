-- Note that a job's message reached a worker. A second delivery that follows the first too soon is a copy
-- of a message whose worker lives, and is not counted.
-- KEYS: delivery. ARGV: seconds after which a message comes back, seconds to be kept.
-- Returns the number of deliveries that count, and the stage that was last written down.
local now = tonumber(redis.call('TIME')[1])
local last = tonumber(redis.call('HGET', KEYS[1], 'at') or 0)
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or 0)
if number == 0 or now - last >= tonumber(ARGV[1]) / 2 then
  number = redis.call('HINCRBY', KEYS[1], 'number', 1)
end
redis.call('HSET', KEYS[1], 'at', now)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {number, redis.call('HGET', KEYS[1], 'stage') or ''}
