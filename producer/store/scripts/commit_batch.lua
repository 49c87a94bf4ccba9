-- Store one batch of a run before it is sent: counts, jobs, failures and the new cursor, or nothing.
-- KEYS: run, jobs, failures. ARGV: cursor before, cursor after, largest number of failures stored,
-- JSON of {counts = {name: n}, jobs = {id: message}, codes = {code: n}, failures = [message]}, seconds until the keys expire.
-- Returns 1, or 0 if the run has another cursor or is not running.
local run, jobs, failures = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', run, 'state') ~= 'running' then return 0 end
if (redis.call('HGET', run, 'cursor') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', run, 'cursor', ARGV[2])
local batch = cjson.decode(ARGV[4])
for name, count in pairs(batch.counts) do redis.call('HINCRBY', run, 'count:' .. name, count) end
for id, message in pairs(batch.jobs) do redis.call('HSET', jobs, id, message) end
for code, count in pairs(batch.codes) do redis.call('HINCRBY', run, 'code:' .. code, count) end
for _, failure in ipairs(batch.failures) do
  if redis.call('LLEN', failures) < tonumber(ARGV[3]) then redis.call('RPUSH', failures, failure) end
end
for index = 1, #KEYS do redis.call('EXPIRE', KEYS[index], ARGV[5]) end
return 1
