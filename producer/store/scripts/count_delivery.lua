-- Note that a job's message reached a worker. A second delivery that follows a sign of life too soon is a
-- copy of a message whose worker lives, and is not counted.
-- KEYS: delivery. ARGV: seconds after which a message comes back, seconds to be kept.
-- Returns the number of deliveries that count, and the stage that was last written down.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local function read(name) return tonumber(redis.call('HGET', KEYS[1], name) or 0) or 0 end
local now, last, number = tonumber(redis.call('TIME')[1]), read('at'), read('number')
-- Whatever somebody wrote there, the count goes on.
if not (number >= 0 and number < 1000) then number = 0 end
if number == 0 or now - last >= tonumber(ARGV[1]) / 2 then number = number + 1 end
redis.call('HSET', KEYS[1], 'number', number, 'at', now)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {number, redis.call('HGET', KEYS[1], 'stage') or ''}
