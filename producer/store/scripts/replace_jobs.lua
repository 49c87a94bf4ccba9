-- Replace the messages of jobs that are still unanswered; one answered meanwhile stays answered.
-- KEYS: jobs. ARGV: id, message, id, message, … Returns the ids that were replaced.
local renewed = {}
for index = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[index]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1])
    renewed[#renewed + 1] = ARGV[index]
  end
end
return renewed
