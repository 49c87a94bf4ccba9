-- Count the outcome of a run's job, once: a second outcome of the same job changes nothing.
-- KEYS: run, jobs, failures, slowest, suspicious, sample, minutes, unreadable, delivery.
-- ARGV: job id, outcome as JSON, JSON of the facts used below.
-- Returns 1, or 0 if the job is not in flight: its outcome was counted before, or the run has expired.
local run, jobs, failures = KEYS[1], KEYS[2], KEYS[3]
local slowest, suspicious, sample, minutes, unreadable = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
redis.call('DEL', KEYS[9])
local message = redis.call('HGET', jobs, ARGV[1])
if not message then return 0 end
redis.call('HDEL', jobs, ARGV[1])
local outcome, facts, job = ARGV[2], cjson.decode(ARGV[3]), cjson.decode(message)

redis.call('HINCRBY', run, 'count:' .. facts.state, 1)
for name, amount in pairs(facts.sums) do redis.call('HINCRBYFLOAT', run, name, amount) end

-- Sorted sets of the highest scores: the slowest jobs, and uniform samples by a random score.
local function keep(key, score, limit)
  redis.call('ZADD', key, score, outcome)
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - limit)
end
if facts.state ~= 'cancelled' then
  redis.call('HINCRBY', minutes, facts.minute .. ':images', 1)
  redis.call('HINCRBY', minutes, facts.minute .. ':pixels', facts.pixels)
end
if facts.state == 'done' then
  keep(slowest, facts.total, facts.most.slowest)
  keep(sample, facts.draw, facts.most.sample)
  if facts.suspicion then
    redis.call('HINCRBY', run, 'suspicion:' .. facts.suspicion, 1)
    keep(suspicious, facts.draw, facts.most.suspicious)
  end
  redis.call('HDEL', unreadable, job.source)
elseif facts.state == 'failed' then
  redis.call('HINCRBY', run, 'code:' .. facts.code, 1)
  if redis.call('LLEN', failures) < facts.most.failures then
    local failure = {source = job.source, image = job.image, mask = job.mask,
                     code = facts.code, message = facts.message}
    redis.call('RPUSH', failures, cjson.encode(failure))
  end
  if facts.etag and redis.call('HLEN', unreadable) < facts.most.unreadable then
    redis.call('HSET', unreadable, job.source, facts.etag)
    redis.call('EXPIRE', unreadable, facts.unreadable_ttl)
  end
end

-- All keys of a run expire together.
local ttl = redis.call('TTL', run)
for index = 2, 7 do redis.call('EXPIRE', KEYS[index], ttl) end
return 1
