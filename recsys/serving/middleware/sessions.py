"""What customers do in this session, added to the history of their questions: a part of the server."""

import json
import time
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.app import PROBLEMS
from recsys.serving.middleware.session_stores import Events, Memory, Redis, Store, UnavailableError
from recsys.serving.model_file import Artefact
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import Answer, Ask, Asked, Id, Problem

LARGEST = 1000
"""characters of one event, and of the name of a customer"""
PREFIX = "history_"
"""with which the inputs begin that hold columns of events"""
AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "the store of sessions does not answer"}
}


class Event(BaseModel):
    """One event; whatever else it names is a column of events, as /describe lists them, without `history_`."""

    model_config = ConfigDict(extra="allow")

    item: Id
    timestamp: float | None = Field(
        default=None, strict=True, ge=-(2**53), le=2**53, description="seconds since 1970; null: now"
    )


class Added(BaseModel):
    """Events of a customer, or of an anonymous session, oldest first."""

    model_config = ConfigDict(extra="forbid")

    customer: Id
    events: list[Event] = Field(min_length=1)


class Session(BaseModel):
    """What a session holds."""

    events: int


class Sessions:
    """The events of a question's `customer` follow the history that the question brings along."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.artefact: Artefact | None = None
        self.router = APIRouter(responses=PROBLEMS | AWAY)
        self.router.add_api_route("/events", self.add, methods=["POST"])
        self.router.add_api_route("/events/{customer}", self.forget, methods=["DELETE"])

    def serves(self, artefact: Artefact) -> None:
        """Know the file whose columns the events have."""
        self.artefact = artefact

    async def __call__(self, asked: list[Asked], then: Ask) -> list[Answer]:
        """Answers that know of the session, or say that it is unavailable."""
        customers = [str(one.customer) for one in asked if one.customer is not None]
        try:
            found = iter(await self.store.read(customers) if customers else [])
        except UnavailableError:
            found = None
        stored = [next(found) if found and one.customer is not None else [] for one in asked]
        names = self._columns() if any(stored) else []
        answers = await then([_followed(*both, names) for both in zip(asked, stored, strict=True)])
        for one, events, answer in zip(asked, stored, answers, strict=True):
            if one.customer is not None:
                answer.about["session"] = len(events) if found else "unavailable"
        return answers

    async def add(self, added: Added) -> Session:
        """Append events to a session, whose oldest ones go where it is full; how many it holds then."""
        try:
            return Session(events=await self.store.append(_name(added.customer), self._told(added.events)))
        except UnavailableError as error:
            raise _away(error) from error

    async def forget(self, customer: str) -> Session:
        """Forget a session, whether there was one or not."""
        try:
            await self.store.forget(_name(customer))
        except UnavailableError as error:
            raise _away(error) from error
        return Session(events=0)

    def _told(self, events: list[Event]) -> Events:
        """Events as text, with their time, checked as a history of them would be; raises RequestError."""
        assert self.artefact is not None
        columns = self._columns()
        own = [{"timestamp": time.time(), **event.model_dump(exclude_none=True)} for event in events]
        wrong = next((name for one in own for name in one if name not in ("item", "timestamp", *columns)), None)
        if wrong is not None:
            raise RequestError(f"'{wrong}' is no column of events; there are: {', '.join(columns) or 'none'}")
        context = {f"{PREFIX}{name}": [one.get(name) for one in own] for name in columns}
        self.artefact.recommender.question([one["item"] for one in own], context=context)
        told = [json.dumps(one) for one in own]
        if max(map(len, told)) > LARGEST:
            raise RequestError(f"an event has {max(map(len, told)):,} characters; at most {LARGEST:,} are kept")
        return told

    def _columns(self) -> list[str]:
        """Columns of events that the file reads, without their prefix."""
        assert self.artefact is not None
        inputs = self.artefact.recommender.describe()["inputs"]
        return [name.removeprefix(PREFIX) for name, column in inputs.items() if column.get("of") == "event"]


def in_memory(events: int = 100, seconds: float = 1800, sessions: int = 10_000) -> Sessions:
    """Sessions kept in this process; settings as in configs/sessions/memory.yaml."""
    return Sessions(Memory(events, seconds, sessions))


def in_redis(url: str, events: int = 100, seconds: int = 1800, timeout: float = 0.1, pause: float = 1.0) -> Sessions:
    """Sessions kept in Redis; settings as in configs/sessions/redis.yaml."""
    return Sessions(Redis(url, events, seconds, timeout, pause))


def _name(customer: Id) -> str:
    name = str(customer)
    if len(name) > LARGEST:
        raise RequestError(f"customer has {len(name):,} characters; at most {LARGEST:,} are taken")
    return name


def _away(error: Exception) -> HTTPException:
    return HTTPException(503, f"sessions are unavailable: {error}", {"Retry-After": "1"})


def _followed(asked: Asked, events: Events, columns: list[str]) -> Asked:
    """The question with a session's events after its own history; columns that one of the two lacks are not given."""
    if not events:
        return asked
    told = [json.loads(event) for event in events]
    context: dict[str, Any] = dict(asked.context or {})
    for name in columns:
        own = context.get(f"{PREFIX}{name}")
        own = [None] * len(asked.history) if own is None else own
        if isinstance(own, list):  # what is none is refused as it would be without a session
            context[f"{PREFIX}{name}"] = [*own, *(event.get(name) for event in told)]
    return asked.model_copy(update={"history": [*asked.history, *(one["item"] for one in told)], "context": context})
