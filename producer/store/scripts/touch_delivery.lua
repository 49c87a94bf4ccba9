-- Record a sign of life of the job's worker, and the job's stage. Does nothing after an outcome.
-- KEYS: delivery. ARGV: the stage, empty to leave it; seconds until the key expires.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1])
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'stage', ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
