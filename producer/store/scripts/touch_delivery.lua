-- Note where a job is, and that whoever has it lives. Does nothing after an outcome.
-- KEYS: delivery. ARGV: the stage, or nothing; seconds to be kept.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1])
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'stage', ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
