-- Reads a part of a topic's history: so many of our entries at most, and of these, but for the first, so many bytes.
-- KEYS is the topic's stream; ARGV is XRANGE or XREVRANGE, where it begins and ends, how many entries and bytes are read, and
-- how many entries of others are passed over.
-- Answers {the entries, 1 where there are more, 1 where there were too many of others}.

-- So many are looked at in one go at most: few, for they stand in Redis' memory beside those that are answered.
local STEP = 16

local command, at, to = ARGV[1], ARGV[2], ARGV[3]
local most, bytes, others = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function size(fields)
  local sum = 0
  for i = 1, #fields do sum = sum + #fields[i] end
  return sum
end

local read = {}
local count, looked, seen = 2, 0, 0
while true do
  local step = redis.call(command, KEYS[1], at, to, 'COUNT', count)
  local before = #read
  for _, entry in ipairs(step) do
    local weight = size(entry[2])
    looked, seen = looked + 1, seen + weight
    -- As publish.lua writes it.
    if entry[2][1] == 'p' then
      bytes = bytes - weight
      if #read == most or bytes < 0 and #read > 0 then return { read, 1, 0 } end
      read[#read + 1] = entry
    elseif others == 0 then
      return { read, 1, 1 }
    else
      others = others - 1
    end
  end
  if #step < count then return { read, 0, 0 } end
  at = '(' .. step[count][1]
  -- Among others' there is no end by steps of one.
  local least = #read == before and math.min(STEP, 2 * count) or 1
  -- One more than what is wanted and fits by the size of those before: it says that there are more.
  local fit = math.floor(math.max(bytes, 0) / math.max(seen / looked, 1))
  count = math.max(least, math.min(STEP, most - #read + 1, fit + 1))
end
