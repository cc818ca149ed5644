"""The layout of the Redis store and its scripts (redis.io/docs/interact/programmability/eval-intro).

Everything of a slot is under keys that begin with `PREFIX{SLOT}:`, so that a Redis cluster keeps it on
one node. A stored value is the text of its expiry (empty: never), a space, and its bytes.

    values, keys, fading    values by key; the keys in order; when those go that expire
    counters                counters by key
    sequence                the last sequence number given out
    queue:Q, order:Q        items of queue Q by id; their ids by sequence number
    ids:Q                   ids of Q by expiry: items, and the tombstones of removed ones
    bytes, due              per queue: bytes of its items; when the first of its ids expires

Redis does not undo what a failing script has done. So a write is checked before any of it is done, and
what cannot fail is all that is left.
"""

from __future__ import annotations

import hashlib
from typing import Final

from rtlib.store.interface import TOMBSTONE_LIFETIME
from rtlib.store.resp import COUNTER_LIMIT, Request

EXPIRED_AT_ONCE: Final = 1000
"""What one call frees at most, so that it holds up the server for some milliseconds only."""
RECORD_LIFETIME: Final = 86400
"""Seconds for which the last outcome of a client is kept; longer than any client goes on asking."""

_PAGE: Final = 500

_STORED: Final = """
local function alive(stored, now)
  local space = string.find(stored, " ", 1, true)
  return space == 1 or tonumber(string.sub(stored, 1, space - 1)) > now
end
local function size(stored)
  return #stored - string.find(stored, " ", 1, true)
end
"""
_TAKE: Final = """
local function take(slot, queue, id, stored)
  redis.call("HDEL", slot .. "queue:" .. queue, id)
  redis.call("ZREM", slot .. "order:" .. queue, id)
  if redis.call("HINCRBY", slot .. "bytes", queue, 0 - size(stored)) == 0 then
    redis.call("HDEL", slot .. "bytes", queue)
  end
end
"""

# KEYS: the record, then the slot of each write. ARGV: number, now, then for each write how many operations
# it has, and for each of them its name and arguments.
# The record says what the client's last call came to. A call that comes again, because its answer was
# lost with the connection, gets that answer; one that was overtaken by a later one is refused.
_WRITE: Final = (
    _STORED
    + _TAKE
    + f"""
local LIMIT, LIFETIME, TOMBSTONE = {COUNTER_LIMIT}, {RECORD_LIFETIME}, {TOMBSTONE_LIFETIME}
"""
    + """
local number, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = redis.call("GET", KEYS[1])
if last then
  local space = string.find(last, " ", 1, true)
  local done = tonumber(string.sub(last, 1, space - 1))
  if done == number then return redis.status_reply(string.sub(last, space + 1)) end
  if done > number then return redis.error_reply("OVERTAKEN a later write of this client is done") end
end

local function fades(slot, queue, id, expires)
  redis.call("ZADD", slot .. "ids:" .. queue, expires, id)
  local due = redis.call("ZSCORE", slot .. "due", queue)
  if not due or tonumber(expires) < tonumber(due) then
    redis.call("ZADD", slot .. "due", expires, queue)
  end
end

local perform = {}
function perform.put(slot, key, stored, expires)
  if redis.call("HSET", slot .. "values", key, stored) == 1 then
    redis.call("ZADD", slot .. "keys", 0, key)
  elseif expires == "" then
    redis.call("ZREM", slot .. "fading", key)
  end
  if expires ~= "" then redis.call("ZADD", slot .. "fading", expires, key) end
  return "-"
end
function perform.delete(slot, key)
  local stored = redis.call("HGET", slot .. "values", key)
  if not stored then return "f" end
  redis.call("HDEL", slot .. "values", key)
  redis.call("ZREM", slot .. "keys", key)
  redis.call("ZREM", slot .. "fading", key)
  return alive(stored, now) and "t" or "f"
end
function perform.increment(slot, key, by)
  return string.format("%.0f", redis.call("HINCRBY", slot .. "counters", key, by))
end
function perform.append(slot, queue, id, stored, expires)
  local old = redis.call("HGET", slot .. "queue:" .. queue, id)
  if old then
    if alive(old, now) then return "f" end
    take(slot, queue, id, old)
  end
  local known = redis.call("ZSCORE", slot .. "ids:" .. queue, id)
  if known and tonumber(known) > now then return "f" end
  redis.call("HSET", slot .. "queue:" .. queue, id, stored)
  redis.call("ZADD", slot .. "order:" .. queue, redis.call("INCR", slot .. "sequence"), id)
  redis.call("HINCRBY", slot .. "bytes", queue, size(stored))
  if expires ~= "" then
    fades(slot, queue, id, expires)
  elseif known then
    redis.call("ZREM", slot .. "ids:" .. queue, id)
  end
  return "t"
end
function perform.remove(slot, queue, id)
  local stored = redis.call("HGET", slot .. "queue:" .. queue, id)
  if not stored or not alive(stored, now) then return "f" end
  take(slot, queue, id, stored)
  if string.sub(stored, 1, 1) == " " then
    fades(slot, queue, id, string.format("%.17g", now + TOMBSTONE))
  end
  return "t"
end

local arity = {put = 3, delete = 1, increment = 2, append = 4, remove = 2}
local function too_large(slot, place, count)
  local counters = {}
  for _ = 1, count do
    local kind, key, by = unpack(ARGV, place, place + 2)
    if kind == "increment" then
      local value = counters[key] or tonumber(redis.call("HGET", slot .. "counters", key) or 0)
      counters[key] = value + tonumber(by)
      if math.abs(counters[key]) > LIMIT then return true end
    end
    place = place + 1 + arity[kind]
  end
end

local outcomes, place = {}, 3
for index = 2, #KEYS do
  local slot, count, results = KEYS[index], tonumber(ARGV[place]), {}
  local refused = too_large(slot, place + 1, count)
  place = place + 1
  for turn = 1, count do
    local kind = ARGV[place]
    local last = place + arity[kind]
    if not refused then results[turn] = perform[kind](slot, unpack(ARGV, place + 1, last)) end
    place = last + 1
  end
  outcomes[index - 1] = refused and "!" or table.concat(results, ",")
end
local answer = table.concat(outcomes, ";")
redis.call("SET", KEYS[1], ARGV[1] .. " " .. answer, "EX", LIFETIME)
return redis.status_reply(answer)
"""
)

# KEYS: slots. ARGV: lower bound, upper bound, limit for each slot, now.
# One string for each slot: how many entries, then key and stored value of each, with their lengths.
_SCAN: Final = (
    _STORED
    + f"local PAGE = {_PAGE}"
    + """
local now, answer = tonumber(ARGV[4]), {}
local function put(text)
  answer[#answer + 1] = struct.pack(">I4", #text)
  answer[#answer + 1] = text
end
for _, slot in ipairs(KEYS) do
  local lower, wanted, found = ARGV[1], tonumber(ARGV[3]), 0
  local place = #answer + 1
  answer[place] = ""
  while found < wanted do
    local count = math.min(wanted - found, PAGE)
    local keys = redis.call("ZRANGEBYLEX", slot .. "keys", lower, ARGV[2], "LIMIT", 0, count)
    if #keys == 0 then break end
    for index, stored in ipairs(redis.call("HMGET", slot .. "values", unpack(keys))) do
      if alive(stored, now) then
        put(keys[index])
        put(stored)
        found = found + 1
      end
    end
    if #keys < count then break end
    lower = "(" .. keys[#keys]
  end
  answer[place] = struct.pack(">I4", found)
end
return table.concat(answer)
"""
)

# KEYS: the slot. ARGV: queue, sequence number, limit, now. Sequence number, id and stored value of each.
_QUEUE: Final = (
    _STORED
    + f"local PAGE = {_PAGE}"
    + """
local slot, queue, after, wanted, now = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local answer, found = {}, 0
while found < wanted do
  local count = math.min(wanted - found, PAGE)
  local order = redis.call(
    "ZRANGEBYSCORE", slot .. "order:" .. queue, "(" .. after, "+inf", "WITHSCORES", "LIMIT", 0, count)
  if #order == 0 then break end
  local ids = {}
  for index = 1, #order, 2 do ids[#ids + 1] = order[index] end
  for index, stored in ipairs(redis.call("HMGET", slot .. "queue:" .. queue, unpack(ids))) do
    if alive(stored, now) then
      for _, text in ipairs({order[2 * index], ids[index], stored}) do
        answer[#answer + 1] = struct.pack(">I4", #text)
        answer[#answer + 1] = text
      end
      found = found + 1
    end
  end
  if #ids < count then break end
  after = order[#order]
end
return table.concat(answer)
"""
)

# KEYS: the slot. ARGV: queue, now. What has expired and is not freed yet does not count.
_SIZE: Final = (
    _STORED
    + """
local slot, queue, now = KEYS[1], ARGV[1], ARGV[2]
local count = redis.call("ZCARD", slot .. "order:" .. queue)
local bytes = tonumber(redis.call("HGET", slot .. "bytes", queue) or 0)
for _, id in ipairs(redis.call("ZRANGEBYSCORE", slot .. "ids:" .. queue, "-inf", now)) do
  local stored = redis.call("HGET", slot .. "queue:" .. queue, id)
  if stored then
    count = count - 1
    bytes = bytes - size(stored)
  end
end
return redis.status_reply(string.format("%.0f %.0f", count, bytes))
"""
)

# KEYS: slots. ARGV: now, limit. How many went, and 1 if there may be more.
_EXPIRE: Final = (
    _STORED
    + _TAKE
    + """
local now, limit = ARGV[1], tonumber(ARGV[2])
local total = 0

local function free_values(slot, wanted)
  local keys = redis.call("ZRANGEBYSCORE", slot .. "fading", "-inf", now, "LIMIT", 0, wanted)
  for _, key in ipairs(keys) do
    redis.call("HDEL", slot .. "values", key)
    redis.call("ZREM", slot .. "keys", key)
    redis.call("ZREM", slot .. "fading", key)
  end
  return #keys
end
local function free_item(slot, queue, id)
  local stored = redis.call("HGET", slot .. "queue:" .. queue, id)
  if stored then take(slot, queue, id, stored) end
  redis.call("ZREM", slot .. "ids:" .. queue, id)
end
local function free_queue(slot, queue, wanted)
  local ids = redis.call("ZRANGEBYSCORE", slot .. "ids:" .. queue, "-inf", now, "LIMIT", 0, wanted)
  for _, id in ipairs(ids) do free_item(slot, queue, id) end
  local first = redis.call("ZRANGE", slot .. "ids:" .. queue, 0, 0, "WITHSCORES")
  if first[1] then
    redis.call("ZADD", slot .. "due", first[2], queue)
  else
    redis.call("ZREM", slot .. "due", queue)
  end
  return #ids
end

for _, slot in ipairs(KEYS) do
  total = total + free_values(slot, limit - total)
  local due = redis.call("ZRANGEBYSCORE", slot .. "due", "-inf", now, "LIMIT", 0, limit - total)
  for _, queue in ipairs(due) do
    if total < limit then total = total + free_queue(slot, queue, limit - total) end
  end
  if total >= limit then break end
end
local more = total < limit and 0 or 1
return redis.status_reply(string.format("%.0f %.0f", total, more))
"""
)


class Script:
    """A script that the server knows by its digest."""

    def __init__(self, text: str) -> None:
        self.load: Request = (b"SCRIPT", b"LOAD", text.encode())
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()

    def __call__(self, keys: list[bytes], *arguments: bytes) -> Request:
        """A call of it."""
        return (b"EVALSHA", self._digest, b"%d" % len(keys), *keys, *arguments)


WRITE, SCAN, QUEUE, SIZE, EXPIRE = map(Script, (_WRITE, _SCAN, _QUEUE, _SIZE, _EXPIRE))
SCRIPTS: Final = (WRITE, SCAN, QUEUE, SIZE, EXPIRE)
