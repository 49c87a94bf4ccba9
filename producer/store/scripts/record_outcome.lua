-- Count the outcome of a run's job, once: a second outcome of the same job changes nothing.
-- KEYS: run, jobs, failures, slowest, suspicious, sample, minutes, unreadable, delivery.
-- ARGV: job id, outcome as JSON, JSON of the facts used below.
-- Returns 1, or 0 if the job is not in flight: its outcome was counted before, or the run has expired.
local run, jobs, failures = KEYS[1], KEYS[2], KEYS[3]
local slowest, suspicious, sample, minutes, unreadable = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
redis.call('DEL', KEYS[9])
-- A script that fails has done a part of its work, so no value is believed to be as a release writes it.
local function is_text(value) return type(value) == 'string' end
local function is_of_type(key, kind) return redis.call('TYPE', key).ok == kind end
if not is_of_type(jobs, 'hash') then return 0 end
local message = redis.call('HGET', jobs, ARGV[1])
if not message then return 0 end
redis.call('HDEL', jobs, ARGV[1])
if not is_of_type(run, 'hash') then return 0 end
local kinds = {[3] = 'list', [4] = 'zset', [5] = 'zset', [6] = 'zset', [7] = 'hash', [8] = 'hash'}
for index, kind in pairs(kinds) do
  if not is_of_type(KEYS[index], kind) then redis.call('DEL', KEYS[index]) end
end
local outcome, facts = ARGV[2], cjson.decode(ARGV[3])
local is_json, job = pcall(cjson.decode, message)
if not is_json or type(job) ~= 'table' then job = {} end

-- `pcall`: a field that is no number stays, and makes the run unreadable by name.
redis.pcall('HINCRBY', run, 'count:' .. facts.state, 1)
for name, amount in pairs(facts.sums) do redis.pcall('HINCRBYFLOAT', run, name, amount) end

-- Sorted sets of the highest scores: the slowest jobs, and uniform samples by a random score.
local function keep(key, score, limit)
  redis.call('ZADD', key, score, outcome)
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - limit)
end
if facts.state ~= 'cancelled' then
  redis.pcall('HINCRBY', minutes, facts.minute .. ':images', 1)
  redis.pcall('HINCRBY', minutes, facts.minute .. ':pixels', facts.pixels)
end
if facts.state == 'done' then
  keep(slowest, facts.total, facts.most.slowest)
  keep(sample, facts.draw, facts.most.sample)
  if facts.suspicion then
    redis.pcall('HINCRBY', run, 'suspicion:' .. facts.suspicion, 1)
    keep(suspicious, facts.draw, facts.most.suspicious)
  end
  if is_text(job.source) then redis.call('HDEL', unreadable, job.source) end
elseif facts.state == 'failed' then
  redis.pcall('HINCRBY', run, 'code:' .. facts.code, 1)
  if is_text(job.source) and redis.call('LLEN', failures) < facts.most.failures then
    local failure = {source = job.source, image = job.image, mask = job.mask,
                     code = facts.code, message = facts.message}
    redis.call('RPUSH', failures, cjson.encode(failure))
  end
  if facts.etag and is_text(job.source) and redis.call('HLEN', unreadable) < facts.most.unreadable then
    redis.call('HSET', unreadable, job.source, facts.etag)
    redis.call('EXPIRE', unreadable, facts.unreadable_ttl)
  end
end

-- All keys of a run expire together.
local ttl = redis.call('TTL', run)
for index = 2, 7 do redis.call('EXPIRE', KEYS[index], ttl) end
return 1
