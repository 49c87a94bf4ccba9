-- Count a delivery of a job. A delivery within half of the visibility timeout after the last sign of life
-- is a copy of a message whose worker lives, and is not counted. A cancelled job is not counted either.
-- KEYS: delivery, mark of a cancelled job. ARGV: visibility timeout in seconds, seconds until the key expires.
-- Returns the number of counted deliveries, the last recorded stage, and 1 if the job is cancelled, else 0.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local function read(name) return tonumber(redis.call('HGET', KEYS[1], name) or 0) or 0 end
local now, last, number = tonumber(redis.call('TIME')[1]), read('at'), read('number')
-- Another program may have written a value that is not a sensible count.
if not (number >= 0 and number < 1000) then number = 0 end
local stage = redis.call('HGET', KEYS[1], 'stage') or ''
if redis.call('EXISTS', KEYS[2]) == 1 then return {number, stage, 1} end
if number == 0 or now - last >= tonumber(ARGV[1]) / 2 then number = number + 1 end
redis.call('HSET', KEYS[1], 'number', number, 'at', now)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {number, stage, 0}
