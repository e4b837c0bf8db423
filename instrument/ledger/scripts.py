"""What the Redis server does in one step, in Lua.

Amounts arrive and are stored as decimal text and are added by INCRBY, which is exact to 64 bits. Lua itself reckons with
doubles: the comparison with the limit is exact up to 9 million dollars in one account, and to less than a millionth of a dollar
above. Times are seconds since 1970; an empty first argument means the server's own clock, so that machines whose clocks differ
agree on what has expired.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function later(seconds) return string.format('%.6f', now + tonumber(seconds)) end
"""

_HOLDS: Final = """
local function amount_and_end(hold) return string.match(hold, '^(%d+) (.+)$') end
local function held(key, forget)
  local sum, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local amount, ends = amount_and_end(all[i + 1])
    if tonumber(ends) > now then sum = sum + tonumber(amount) elseif forget then redis.call('HDEL', key, all[i]) end
  end
  return sum
end
"""

CLOCK: Final = _NOW + "return later(0)"
"""The time, as text."""

RESERVE: Final = (
    _NOW
    + _HOLDS
    + """
local id, amount, limit, hold, keep = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local own = redis.call('HGET', KEYS[1], id)
-- Sent twice, because the first answer was lost on the way.
if own then local _, ends = amount_and_end(own); return ends end
local settled = tonumber(redis.call('GET', KEYS[2]) or '0')
if settled + held(KEYS[1], true) + tonumber(amount) > tonumber(limit) then return false end
local ends = later(hold)
redis.call('HSET', KEYS[1], id, amount .. ' ' .. ends)
redis.call('EXPIRE', KEYS[1], keep)
redis.call('EXPIRE', KEYS[2], keep)
redis.call('EXPIRE', KEYS[3], keep)
return ends
"""
)
"""When the hold ends, or nil where it would pass the limit. KEYS: holds, settled, done. ARGV: now, id, nanos, limit nanos, hold, keep."""

SETTLE: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('SADD', KEYS[3], ARGV[1]) == 1 then redis.call('INCRBY', KEYS[2], ARGV[2]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[3])
"""
"""KEYS: holds, settled, done. ARGV: id, nanos, keep."""

RENEW: Final = (
    _NOW
    + _HOLDS
    + """
local own = redis.call('HGET', KEYS[1], ARGV[2])
if not own then return 0 end
local amount, ends = amount_and_end(own)
if tonumber(ends) <= now then return 0 end
if now + tonumber(ARGV[3]) > tonumber(ends) then ends = later(ARGV[3]) end
redis.call('HSET', KEYS[1], ARGV[2], amount .. ' ' .. ends)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
)
"""1 where it is held. KEYS: holds. ARGV: now, id, hold, keep."""

SPENT: Final = _NOW + _HOLDS + "return {redis.call('GET', KEYS[2]) or '0', string.format('%.0f', held(KEYS[1], false))}"
"""Nano-dollars settled and held, as text. KEYS: holds, settled. ARGV: now."""

ASK: Final = """
if redis.call('HSETNX', KEYS[1], 'document', ARGV[1]) == 1 then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
"""
"""KEYS: review, waiting. ARGV: document, id, created at."""

ANSWER: Final = (
    _NOW
    + """
local id, decision, note, by, keep = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], 'decision', decision) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'note', note, 'decided_by', by, 'decided_at', later(0))
redis.call('ZREM', KEYS[2], id)
redis.call('ZADD', KEYS[3], later(0), id)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. later(-tonumber(keep)))
redis.call('EXPIRE', KEYS[1], keep)
redis.call('EXPIRE', KEYS[4], keep)
return 1
"""
)
"""1 answered, 0 it had an answer, -1 unknown. KEYS: review, waiting, decided, state. ARGV: now, id, decision, note, by, keep."""

SAVE_STATE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], 'state', ARGV[1])
local left = redis.call('TTL', KEYS[1])
if left > 0 then redis.call('EXPIRE', KEYS[2], left) end
return 1
"""
"""0 for an unknown review. KEYS: review, state. ARGV: state."""

TAKE: Final = (
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'state', 'taken_by', 'taken_until')
if not found[1] then return 0 end
if found[2] and found[2] ~= ARGV[2] and tonumber(found[3]) > now then return 0 end
redis.call('HSET', KEYS[1], 'taken_by', ARGV[2], 'taken_until', later(ARGV[3]))
return 1
"""
)
"""1 where it is taken. KEYS: state. ARGV: now, by, hold."""
