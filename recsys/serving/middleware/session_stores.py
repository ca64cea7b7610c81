"""Stores of sessions: the newest events of each customer, as text, until no event came for a while."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from typing_extensions import override

from recsys.errors import ConfigError
from recsys.extras import require_extra

StoredEvents = list[str]


class StoreUnavailableError(Exception):
    """The store does not answer now."""


class SessionStore(Protocol):
    """Events by customer, oldest first; every method may raise StoreUnavailableError."""

    async def append(self, customer: str, events: StoredEvents) -> int:
        """Add events to a session and return how many it holds now."""
        ...

    async def read(self, customers: Sequence[str]) -> list[StoredEvents]:
        """Return the events of each session; an empty list if there is no session."""
        ...

    async def forget(self, customer: str) -> None:
        """Remove a session."""
        ...


class MemoryStore(SessionStore):
    """A store in the memory of this process, with at most `sessions` sessions of `events` events each.

    A session ends `seconds` after its last event.
    """

    def __init__(self, events: int, seconds: float, sessions: int) -> None:
        self.events, self.seconds, self.sessions = events, seconds, sessions
        self._sessions: OrderedDict[str, tuple[float, StoredEvents]] = OrderedDict()  # by the time of the last event

    @override
    async def append(self, customer: str, events: StoredEvents) -> int:
        earlier = (await self.read([customer]))[0]
        self._sessions[customer] = time.monotonic() + self.seconds, [*earlier, *events][-self.events :]
        self._sessions.move_to_end(customer)
        while len(self._sessions) > self.sessions or self._has_ended(next(iter(self._sessions))):
            self._sessions.popitem(last=False)
        return len(self._sessions[customer][1])

    @override
    async def read(self, customers: Sequence[str]) -> list[StoredEvents]:
        return [
            self._sessions[customer][1] if customer in self._sessions and not self._has_ended(customer) else []
            for customer in customers
        ]

    @override
    async def forget(self, customer: str) -> None:
        self._sessions.pop(customer, None)

    def _has_ended(self, customer: str) -> bool:
        return self._sessions[customer][0] < time.monotonic()


class RedisStore(SessionStore):
    """A store that several servers share. A command fails after `timeout` seconds; Redis is then left alone for
    `pause` seconds, so that requests do not wait for it one by one.
    """

    def __init__(self, url: str, events: int, seconds: int, timeout: float, pause: float) -> None:
        with require_extra("redis"):
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        retry = Retry(NoBackoff(), 1)  # once: Redis may have been restarted, which breaks a connection kept open
        try:
            self._client = Redis.from_url(url, decode_responses=True, retry=retry, socket_connect_timeout=timeout)
        except ValueError as error:
            raise ConfigError(f"url is not a Redis address ({error}); write redis://HOST:PORT/DATABASE") from error
        self.events, self.seconds, self.timeout, self.pause = events, seconds, timeout, pause
        self._failures = RedisError, OSError, TimeoutError
        self._paused_until = 0.0

    @override
    async def append(self, customer: str, events: StoredEvents) -> int:
        async with self._client.pipeline(transaction=True) as pipe:
            key = _key_of(customer)
            pipe.rpush(key, *events)
            pipe.ltrim(key, -self.events, -1)
            pipe.expire(key, self.seconds)
            pipe.llen(key)
            return (await self._execute(pipe.execute))[-1]

    @override
    async def read(self, customers: Sequence[str]) -> list[StoredEvents]:
        async with self._client.pipeline(transaction=False) as pipe:
            for customer in customers:
                pipe.lrange(_key_of(customer), 0, -1)
            return await self._execute(pipe.execute)

    @override
    async def forget(self, customer: str) -> None:
        await self._execute(lambda: self._client.delete(_key_of(customer)))

    async def _execute(self, command: Callable[[], Awaitable[Any]]) -> Any:
        if time.monotonic() < self._paused_until:
            raise StoreUnavailableError("Redis did not answer a moment ago")
        try:
            async with asyncio.timeout(self.timeout):
                return await command()
        except self._failures as error:
            self._paused_until = time.monotonic() + self.pause
            raise StoreUnavailableError(f"Redis does not answer ({type(error).__name__})") from error


def _key_of(customer: str) -> str:
    return f"recsys:session:{json.dumps(customer)}"  # JSON escapes, so that a key is plain ASCII
