-- Subtract a counted delivery (ARGV[1] = 1), or keep it (0); the next one is counted, however soon it is.
-- KEYS: delivery. ARGV: number to subtract, seconds until the key expires. Does nothing after an outcome.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or 0) or 0
redis.call('HSET', KEYS[1], 'number', math.max(number - ARGV[1], 0), 'at', 0)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
