"""Middleware for sessions: what customers do during a visit is added to the history of their requests."""

import json
import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.app import ERROR_RESPONSES
from recsys.serving.middleware.session_stores import (
    MemoryStore,
    RedisStore,
    SessionStore,
    StoredEvents,
    StoreUnavailableError,
)
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import CallNext, Problem, RawId, RecommendRequest, RecommendResponse

MAX_CHARACTERS = 1000
"""of one event as JSON, and of the name of a customer"""
PREFIX = "history_"
"""of the inputs that hold columns of events"""
STORE_ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "the store of sessions does not answer"}
}


class SessionEvent(BaseModel):
    """One event. Other fields are columns of events as /describe lists them, without their prefix `history_`."""

    model_config = ConfigDict(extra="allow")

    item: RawId
    timestamp: float | None = Field(
        default=None, strict=True, ge=-(2**53), le=2**53, description="seconds since 1970; null: now"
    )


class AddEventsRequest(BaseModel):
    """Events of a customer, or of an anonymous session, oldest first."""

    model_config = ConfigDict(extra="forbid")

    customer: RawId
    events: list[SessionEvent] = Field(min_length=1)


class SessionResponse(BaseModel):
    """The number of events that a session holds."""

    events: int


class SessionMiddleware:
    """Appends the stored events of a request's `customer` to the history that the request brings along."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.model_file: ModelFile | None = None
        self.router = APIRouter(responses=ERROR_RESPONSES | STORE_ERROR_RESPONSES)
        self.router.add_api_route("/events", self.add, methods=["POST"])
        self.router.add_api_route("/events/{customer}", self.forget, methods=["DELETE"])

    def attach(self, model_file: ModelFile) -> None:
        """Set the model file, which says what columns events have."""
        self.model_file = model_file

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Return one response per request; `about.session` is the number of stored events, or "unavailable"."""
        sessions = await self._read_sessions(requests)
        stored = sessions or [[] for _ in requests]
        columns = self._event_columns() if any(stored) else []
        extended = [_append_events(request, events, columns) for request, events in zip(requests, stored, strict=True)]
        responses = await call_next(extended)
        for request, events, response in zip(requests, stored, responses, strict=True):
            if request.customer is not None:
                response.about["session"] = "unavailable" if sessions is None else len(events)
        return responses

    async def add(self, body: AddEventsRequest) -> SessionResponse:
        """Append events to a session and return how many it holds now; a full session drops its oldest events."""
        try:
            n_events = await self.store.append(_check_customer(body.customer), self._serialise(body.events))
        except StoreUnavailableError as error:
            raise _unavailable(error) from error
        return SessionResponse(events=n_events)

    async def forget(self, customer: str) -> SessionResponse:
        """Remove a session, which need not exist."""
        try:
            await self.store.forget(_check_customer(customer))
        except StoreUnavailableError as error:
            raise _unavailable(error) from error
        return SessionResponse(events=0)

    async def _read_sessions(self, requests: Sequence[RecommendRequest]) -> list[StoredEvents] | None:
        """Return the stored events for each request; None if the store is unavailable."""
        customers = [str(request.customer) for request in requests if request.customer is not None]
        try:
            sessions = iter(await self.store.read(customers) if customers else [])
        except StoreUnavailableError:
            return None
        return [[] if request.customer is None else next(sessions) for request in requests]

    def _serialise(self, events: list[SessionEvent]) -> StoredEvents:
        """Return events as JSON with their times, validated as a history of them would be; raises RequestError."""
        columns = self._event_columns()
        records = [{"timestamp": time.time(), **event.model_dump(exclude_none=True)} for event in events]
        names = dict.fromkeys(name for record in records for name in record)
        for name in names:
            if name not in ("item", "timestamp", *columns):
                raise RequestError(f"'{name}' is not a column of events; there are: {', '.join(columns) or 'none'}")
        context = {f"{PREFIX}{name}": [record.get(name) for record in records] for name in columns}
        self._recommender().question([record["item"] for record in records], context=context)
        texts = [json.dumps(record) for record in records]
        if (longest := max(map(len, texts))) > MAX_CHARACTERS:
            raise RequestError(f"an event has {longest:,} characters; at most {MAX_CHARACTERS:,} are allowed")
        return texts

    def _event_columns(self) -> list[str]:
        """Return the columns of events that the model file reads, without their prefix."""
        inputs = self._recommender().describe()["inputs"]
        return [name.removeprefix(PREFIX) for name, column in inputs.items() if column.get("of") == "event"]

    def _recommender(self) -> Recommender:
        assert self.model_file is not None
        return self.model_file.recommender


def in_memory(events: int = 100, seconds: float = 1800, sessions: int = 10_000) -> SessionMiddleware:
    """Return middleware with sessions in this process; settings as in configs/sessions/memory.yaml."""
    return SessionMiddleware(MemoryStore(events, seconds, sessions))


def in_redis(
    url: str, events: int = 100, seconds: int = 1800, timeout: float = 0.1, pause: float = 1.0
) -> SessionMiddleware:
    """Return middleware with sessions in Redis; settings as in configs/sessions/redis.yaml."""
    return SessionMiddleware(RedisStore(url, events, seconds, timeout, pause))


def _check_customer(customer: RawId) -> str:
    name = str(customer)
    if len(name) > MAX_CHARACTERS:
        raise RequestError(f"customer has {len(name):,} characters; at most {MAX_CHARACTERS:,} are allowed")
    return name


def _unavailable(error: Exception) -> HTTPException:
    return HTTPException(503, f"sessions are unavailable: {error}", {"Retry-After": "1"})


def _append_events(request: RecommendRequest, events: StoredEvents, columns: list[str]) -> RecommendRequest:
    """Return the request with a session's events after its history; missing columns of either are filled with None."""
    if not events:
        return request
    records = [json.loads(event) for event in events]
    context: dict[str, Any] = dict(request.context or {})
    for name in columns:
        cells = context.get(f"{PREFIX}{name}")
        cells = [None] * len(request.history) if cells is None else cells
        if isinstance(cells, list):  # anything else is rejected later, as it would be without a session
            context[f"{PREFIX}{name}"] = [*cells, *(record.get(name) for record in records)]
    history = [*request.history, *(record["item"] for record in records)]
    return request.model_copy(update={"history": history, "context": context})
