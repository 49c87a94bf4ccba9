-- Mark a job as cancelled, unless it has an outcome.
-- KEYS: mark, delivery, pending jobs, outcome, jobs of the run, run. ARGV: job id, seconds until the mark expires.
-- Returns what was found: cancelled (it had not begun), begun, ended, or unknown.
if redis.call('EXISTS', KEYS[4]) == 1 then return 'ended' end
local function is(key, kind) return redis.call('TYPE', key).ok == kind end
local function is_pending()
  if is(KEYS[3], 'zset') and redis.call('ZSCORE', KEYS[3], ARGV[1]) then return true end
  return is(KEYS[5], 'hash') and redis.call('HEXISTS', KEYS[5], ARGV[1]) == 1
end
local was_pending = is_pending()
-- The outcome of a job of a run is counted, not stored: it has ended if it is no longer in flight.
if not was_pending and is(KEYS[6], 'hash') then return 'ended' end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[2])
local number = is(KEYS[2], 'hash') and tonumber(redis.call('HGET', KEYS[2], 'number') or 0) or 0
if number > 0 then return 'begun' end
return was_pending and 'cancelled' or 'unknown'
