"""One exported file over HTTP."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from recsys.extras import package_version
from recsys.serving.batching import Batcher, FullError
from recsys.serving.explain import REFERENCE, Reason, planned, reasons
from recsys.serving.model_file import Artefact
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import (
    Answer,
    Ask,
    Asked,
    AskedOfItem,
    Explained,
    Limits,
    OneOrMany,
    Part,
    Problem,
    Similar,
    Why,
    answered,
    bound,
    checked,
)
from recsys.serving.telemetry import Metrics, Watch

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why}
    for status, why in {
        400: "the body is no JSON",
        401: "no or another API key",
        413: "the body is too large",
        422: "the question cannot be answered",
        503: "too many questions wait; ask again after the seconds in Retry-After",
    }.items()
}
KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="where the server was given a key")
FORMS = {"one", "many", "str", "int"}
"""parts of a place that stand for a form the value might have taken"""
EXAMPLE = {"one": {"value": {"history": ["1029743"], "k": 5}}, "many": {"value": [{"history": ["1029743"]}, {}]}}


class Server:
    """What the endpoints share."""

    def __init__(
        self, artefact: Artefact, limits: Limits, api_key: str | None = None, parts: Sequence[Part] = ()
    ) -> None:
        self.artefact, self.limits, self.api_key = artefact, limits, api_key
        self.metrics = Metrics()
        artefact.reloaded = self.metrics.reloads.inc
        self.batcher = Batcher(limits.batch, limits.waiting, self.metrics.batches.observe)
        self._ask: Ask = self.ask_model
        for part in reversed(parts):
            if hasattr(part, "serves"):
                part.serves(artefact)
            self._ask = partial(part, then=self._ask)

    async def ask(self, asked: list[Asked]) -> list[Answer]:
        """Answers in order; raises RequestError and FullError."""
        if not 0 < len(asked) <= self.limits.questions:
            raise RequestError(f"{len(asked)} questions were asked; ask 1 to {self.limits.questions} at a time")
        for one in asked:
            bound(one, self.limits)
        return await self._ask(asked)

    async def ask_model(self, asked: list[Asked]) -> list[Answer]:
        """Answers of the model alone, of any size: parts may ask for more than a request may."""
        recommender = self.artefact.recommender
        found = await self.batcher.ask(recommender, [checked(recommender, one) for one in asked])
        self.metrics.newcomers.inc(sum(one.known == 0 for one in found))
        self.metrics.unknown.inc(sum(len(one.unknown) for one in found))
        return [answered(one) for one in found]

    async def explain(self, asked: Explained) -> list[Reason]:
        """Why the model recommends these items, as `explain` says it; raises RequestError and FullError."""
        bound(asked, self.limits)
        recommender = self.artefact.recommender
        newcomer = await self.batcher.ask(recommender, [(recommender.question(k=REFERENCE), [])])
        reference, about = newcomer[0].items, {"user": asked.user, "context": asked.context}
        plan = planned(recommender, asked.items, reference, asked.history, **about)
        found = await self.batcher.ask(recommender, [(each, plan.allow) for each in plan.questions])
        return reasons(plan, found)


def create_app(
    artefact: Artefact,
    limits: Limits,
    api_key: str | None = None,
    watch: float | None = None,
    parts: Sequence[Part] = (),
) -> FastAPI:
    """The application without the page; settings as in configs/serve.yaml, `parts` from the outermost one."""
    server = Server(artefact, limits, api_key, parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(artefact.watch(watch)) if watch else None
        yield
        if watching:
            watching.cancel()

    about: Any = {"title": "recsys", "summary": "Ranked items for raw ids", "version": package_version()}
    app = FastAPI(**about, lifespan=lifespan, max_body_size=limits.body)
    app.state.server = server
    guards = [Depends(check_key)] if api_key else []
    for router in (questions, *(part.router for part in parts if hasattr(part, "router"))):
        app.include_router(router, dependencies=guards)
    app.include_router(operation)
    app.add_middleware(Watch, metrics=server.metrics)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


def server_of(request: Request) -> Server:
    """The server that a request was sent to."""
    found: Server = request.app.state.server
    return found


async def check_key(request: Request, given: Annotated[str | None, Security(KEY)]) -> None:
    """Raises 401 where a key is asked for and another or none is given."""
    wanted = server_of(request).api_key
    if wanted is not None and not secrets.compare_digest((given or "").encode(), wanted.encode()):
        raise HTTPException(401, "give the server's key in the header X-API-Key")


questions = APIRouter(responses=PROBLEMS)
operation = APIRouter()


@questions.post("/recommend")
async def recommend(
    request: Request, asked: Annotated[OneOrMany, Body(openapi_examples=EXAMPLE)]
) -> Answer | list[Answer]:
    """The best items after a history, or for a list of questions a list of answers."""
    found = await server_of(request).ask(asked if isinstance(asked, list) else [asked])
    return found if isinstance(asked, list) else found[0]


@questions.post("/similar")
async def similar(request: Request, asked: Similar) -> Answer:
    """What is recommended after this one item."""
    one = AskedOfItem(history=[asked.item], k=asked.k, exclude_seen=True)
    return (await server_of(request).ask([one]))[0]


@questions.post("/explain")
async def explain(request: Request, asked: Explained) -> list[Why]:
    """For each item what of the history it rests on, where one thing is enough; no part of the server is asked."""
    return [Why.model_construct(**reason._asdict()) for reason in await server_of(request).explain(asked)]


@questions.get("/describe")
async def describe(request: Request) -> dict[str, Any]:
    """What the file says of itself: inputs with their defaults, model, metrics, versions, licence."""
    return server_of(request).artefact.recommender.describe()


@questions.post("/reload", responses={409: {"model": Problem, "description": "the new file is not usable"}})
async def reload(request: Request) -> dict[str, str]:
    """Load the file at the server's path again, while the old one answers."""
    server = server_of(request)
    try:
        await server.artefact.reload()
    except Exception as error:
        raise HTTPException(409, f"the old file goes on: {error}") from error
    return {"status": "reloaded"}


@operation.get("/health")
async def health() -> dict[str, str]:
    """That questions are answered."""
    return {"status": "ok"}


@operation.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(generate_latest(server_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """The first mistake only: the others are often the same one again."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in FORMS)
    return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})


HANDLERS = {RequestError: _refused, RequestValidationError: _invalid, FullError: _busy}
