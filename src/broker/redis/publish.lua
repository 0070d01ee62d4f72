-- Publishes one message: keeps it where the topic's rule says so, and tells it to who listens, in one step.
-- KEYS[1] is the topic's channel; ARGV is the payload, then names and values: EVENT, KEY, ID, TYPE (text, json or
-- binary), TS (ms), EXCEPT (repeatable).
-- Or KEYS are the topic's last position and its stream, and ARGV begins with the channel.
-- Answers {position or false, how many listened, 1 where it was published before under its ID and now was not}.

local MAX_HEADER, MAX_NAME = 65536, 200

-- What JSON needs of a text: UTF-8, of which a producer may give us anything else.
local function is_utf8(text)
  local i, n = 1, #text
  while i <= n do
    local c = text:byte(i)
    local more = c < 0x80 and 0 or c >= 0xC2 and c < 0xE0 and 1 or c >= 0xE0 and c < 0xF0 and 2 or c >= 0xF0 and c < 0xF5 and 3
    if not more or i + more > n then return false end
    for j = i + 1, i + more do
      local b = text:byte(j)
      if b < 0x80 or b > 0xBF then return false end
    end
    if c == 0xE0 and text:byte(i + 1) < 0xA0 or c == 0xED and text:byte(i + 1) > 0x9F then return false end
    if c == 0xF0 and text:byte(i + 1) < 0x90 or c == 0xF4 and text:byte(i + 1) > 0x8F then return false end
    i = i + more + 1
  end
  return true
end

local function rule_of(topic)
  for _, rule in ipairs(RULES) do
    if rule.prefix and topic:sub(1, #rule.name) == rule.name or topic == rule.name then
      return rule
    end
  end
end

-- The header's members, without the position, in the order in which the gateway writes them.
local function members(args, now)
  local given, except = {}, {}
  for i = 2, #args, 2 do
    local name, value = string.upper(args[i]), args[i + 1]
    if value == nil then
      return nil, 'ERR ' .. args[i] .. ' has no value'
    elseif #value > MAX_NAME or not is_utf8(value) then
      return nil, 'ERR ' .. name .. ' is no UTF-8 of at most ' .. MAX_NAME .. ' bytes'
    elseif name == 'EXCEPT' then
      except[#except + 1] = cjson.encode(value)
    elseif name == 'EVENT' or name == 'KEY' or name == 'ID' or name == 'TS' or name == 'TYPE' then
      given[name] = value
    else
      return nil, 'ERR ' .. args[i] .. ' is no option; write EVENT, KEY, ID, TYPE, TS or EXCEPT, each with a value'
    end
  end
  local ts = given.TS and tonumber(given.TS) or now
  if given.TS and not (tonumber(given.TS) and ts >= 0 and ts < 9e15) then
    return nil, 'ERR TS is ' .. given.TS .. ', not a number of ms since 1970'
  end
  if given.TYPE and given.TYPE ~= 'text' and given.TYPE ~= 'json' and given.TYPE ~= 'binary' then
    return nil, 'ERR TYPE is ' .. given.TYPE .. '; write text, json or binary'
  end
  local text = { string.format('"ts":%.0f', ts) }
  if given.EVENT then text[#text + 1] = '"event":' .. cjson.encode(given.EVENT) end
  if given.KEY then text[#text + 1] = '"key":' .. cjson.encode(given.KEY) end
  if given.TYPE then text[#text + 1] = '"type":"' .. given.TYPE .. '"' end
  if #except > 0 then text[#text + 1] = '"except":[' .. table.concat(except, ',') .. ']' end
  if given.ID then text[#text + 1] = '"id":' .. cjson.encode(given.ID) end
  return table.concat(text, ','), nil, given.ID
end

-- The first place after `last` that a publication of now can have: clocks may go back, places do not. Where they have, the
-- number goes on by a step that nobody can foresee: else a Redis that lost its newest publications would give their places
-- to others, and who knew the lost ones would take those for what follows.
local function after(last, now, micros)
  local ms, number = last:match('^(%d+)-(%d+)$')
  ms, number = tonumber(ms), tonumber(number)
  if now > ms then return string.format('%.0f-0', now) end
  return string.format('%.0f-%.0f', ms, number + 1 + (now < ms and micros or 0))
end

-- The place of the newest entry, and the same where it is one of ours: who may write there may put others in.
local function newest(stream)
  local top = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if top then return top[1], top[2][1] == 'p' and top[1] end
end

-- Appends to the history. Answers the position before it and its own, or an error.
local function keep(base, rule, header, payload, now, micros)
  local stream, lastkey = base .. ':stream', base .. ':last'
  local prev = redis.call('GET', lastkey)
  local top = prev
  if not prev then
    top, prev = newest(stream)
    top, prev = top or '0-0', prev or '0-0'
  end
  local pos = after(top, now, micros)
  local function add()
    return redis.pcall('XADD', stream, 'MAXLEN', '=', rule.size, pos, 'p', prev, 'h', header, 'd', payload)
  end
  local added = add()
  if type(added) == 'table' and added.err then
    -- The stream may be ahead of what we noted: then it is right. What is no publication is followed by none.
    local ahead, ours = newest(stream)
    prev = ours or prev
    pos = after(ahead or top, now, micros)
    added = add()
    if type(added) == 'table' and added.err then return nil, nil, added end
  end
  redis.call('SET', lastkey, pos, 'PX', rule.last)
  redis.call('PEXPIRE', stream, rule.ttl)
  return prev, pos
end

local function fanline_publish(keys, args)
  if #keys == 2 then keys = { table.remove(args, 1) } end
  local channel, payload = keys[1], args[1]
  if not channel or not payload or channel:sub(1, #PREFIX) ~= PREFIX then
    return redis.error_reply('ERR write 1 ' .. PREFIX .. '<topic> <payload> [EVENT e] [KEY k] [ID i] [TYPE t] [EXCEPT c]')
  end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local header, wrong, id = members(args, now)
  if not header then return redis.error_reply(wrong) end
  if #header + 80 > MAX_HEADER then
    return redis.error_reply('ERR its header has ' .. #header .. ' bytes, and no replica reads so many')
  end

  local base = '{' .. channel .. '}'
  local once = id and base .. ':id:' .. id
  local first = once and redis.call('GET', once)
  if first then return { first ~= '' and first, 0, 1 } end

  local rule = rule_of(channel:sub(#PREFIX + 1))
  if rule and rule.none then rule = nil end
  local pos
  local place = ''
  if rule then
    local prev, failed
    prev, pos, failed = keep(base, rule, header, payload, now, tonumber(time[2]))
    if failed then return failed end
    place = ',"pos":"' .. pos .. '","prev":"' .. prev .. '"'
  end
  local listeners = redis.call(PUBLISH, channel, '\30FL1{' .. header .. place .. '}\n' .. payload)
  -- Last: what was refused on its way was not published, and may be tried again.
  if once then redis.call('SET', once, pos or '', 'EX', ONCE) end
  return { pos or false, listeners, 0 }
end
