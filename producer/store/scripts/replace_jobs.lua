-- Replace the messages of jobs that are still in flight; a job with an outcome is left out.
-- KEYS: jobs. ARGV: id, message, id, message, … Returns the ids that were replaced.
local replaced = {}
for index = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[index]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1])
    replaced[#replaced + 1] = ARGV[index]
  end
end
return replaced
