"""Where sessions are kept: the newest events of each customer, as text, until none came for a while."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from recsys.errors import ConfigError
from recsys.extras import require_extra

T = TypeVar("T")
Events = list[str]


class UnavailableError(Exception):
    """The store does not answer now."""


class Store(Protocol):
    """Events by customer, oldest first; every method may raise UnavailableError."""

    async def append(self, customer: str, events: Events) -> int:
        """Add events to a session; how many it holds now."""
        ...

    async def read(self, customers: Sequence[str]) -> list[Events]:
        """The events of each session; none where there is no session."""
        ...

    async def forget(self, customer: str) -> None:
        """Remove a session."""
        ...


class Memory:
    """A store in this process."""

    def __init__(self, events: int, seconds: float, sessions: int) -> None:
        self.events, self.seconds, self.sessions = events, seconds, sessions
        self._kept: OrderedDict[str, tuple[float, Events]] = OrderedDict()  # by the time of the last event

    async def append(self, customer: str, events: Events) -> int:
        """Add events to a session; how many it holds now."""
        known = (await self.read([customer]))[0]
        self._kept[customer] = time.monotonic() + self.seconds, [*known, *events][-self.events :]
        self._kept.move_to_end(customer)
        while len(self._kept) > self.sessions or self._is_over(next(iter(self._kept))):
            self._kept.popitem(last=False)
        return len(self._kept[customer][1])

    async def read(self, customers: Sequence[str]) -> list[Events]:
        """The events of each session."""
        return [self._kept[c][1] if c in self._kept and not self._is_over(c) else [] for c in customers]

    async def forget(self, customer: str) -> None:
        """Remove a session."""
        self._kept.pop(customer, None)

    def _is_over(self, customer: str) -> bool:
        return self._kept[customer][0] < time.monotonic()


class Redis:
    """A store that servers share. What takes longer than `timeout` seconds has failed, and then Redis is left alone
    for `pause` seconds, so that questions do not wait for it one by one.
    """

    def __init__(self, url: str, events: int, seconds: int, timeout: float, pause: float) -> None:
        with require_extra("redis"):
            from redis.asyncio import Redis as Client
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        once_more = Retry(NoBackoff(), 1)  # a connection that was kept open may be that of a server since restarted
        try:
            self._client = Client.from_url(url, decode_responses=True, retry=once_more, socket_connect_timeout=timeout)
        except ValueError as error:
            raise ConfigError(f"url is no address of a Redis ({error}); write redis://HOST:PORT/DATABASE") from error
        self.events, self.seconds, self.timeout, self.pause = events, seconds, timeout, pause
        self._failures = RedisError, OSError, TimeoutError
        self._again = 0.0

    async def append(self, customer: str, events: Events) -> int:
        """Add events to a session; how many it holds now."""
        async with self._client.pipeline(transaction=True) as pipe:
            key = _key(customer)
            pipe.rpush(key, *events)
            pipe.ltrim(key, -self.events, -1)
            pipe.expire(key, self.seconds)
            pipe.llen(key)
            return (await self._asked(pipe.execute))[-1]

    async def read(self, customers: Sequence[str]) -> list[Events]:
        """The events of each session."""
        async with self._client.pipeline(transaction=False) as pipe:
            for customer in customers:
                pipe.lrange(_key(customer), 0, -1)
            return await self._asked(pipe.execute)

    async def forget(self, customer: str) -> None:
        """Remove a session."""
        await self._asked(lambda: self._client.delete(_key(customer)))

    async def _asked(self, command: Callable[[], Awaitable[Any]]) -> Any:
        if time.monotonic() < self._again:
            raise UnavailableError("Redis did not answer a moment ago")
        try:
            async with asyncio.timeout(self.timeout):
                return await command()
        except self._failures as error:
            self._again = time.monotonic() + self.pause
            raise UnavailableError(f"Redis does not answer ({type(error).__name__})") from error


def _key(customer: str) -> str:
    return f"recsys:session:{json.dumps(customer)}"  # plain letters, whatever is in the name
