-- Reads a part of a topic's history: so many of our entries at most, and of these, but for the first, so many bytes.
-- KEYS are the topic's last position and its stream; ARGV is XRANGE or XREVRANGE, where it begins and ends, how many entries
-- and bytes are read, and how many entries of others are passed over.
-- Answers {last position or false, the entries, 1 where there are more, 1 where there were too many of others}.

-- So many are looked at in one go: few, for they stand in Redis' memory beside those that are answered.
local STEP = 16

local command, at, to = ARGV[1], ARGV[2], ARGV[3]
local most, bytes, others = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function is_ours(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'p' then return true end
  end
  return false
end

local function size(fields)
  local sum = 0
  for i = 1, #fields do sum = sum + #fields[i] end
  return sum
end

local last, read = redis.call('GET', KEYS[1]), {}
while true do
  local step = redis.call(command, KEYS[2], at, to, 'COUNT', STEP)
  for _, entry in ipairs(step) do
    if is_ours(entry[2]) then
      bytes = bytes - size(entry[2])
      if #read == most or bytes < 0 and #read > 0 then return { last, read, 1, 0 } end
      read[#read + 1] = entry
    elseif others == 0 then
      return { last, read, 1, 1 }
    else
      others = others - 1
    end
  end
  if #step < STEP then return { last, read, 0, 0 } end
  at = '(' .. step[STEP][1]
end
