"""The HTTP application that serves one exported model file."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from recsys.extras import package_version
from recsys.serving.batching import Batcher, QueueFullError
from recsys.serving.explain import REFERENCE_SIZE, Reason, find_reasons, plan_leave_one_out
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import (
    ExplainRequest,
    ItemHistoryRequest,
    Middleware,
    OneOrMany,
    Problem,
    ReasonResponse,
    RecommendRequest,
    RecommendResponse,
    ServerLimits,
    SimilarRequest,
    chain_middleware,
    check_limits,
    check_request,
    make_response,
)
from recsys.serving.telemetry import ServerMetrics, TelemetryMiddleware

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "the body is not JSON",
        401: "the API key is missing or wrong",
        413: "the body is too large",
        422: "the request is invalid",
        503: "too many requests wait; try again after the seconds in Retry-After",
    }.items()
}
API_KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="required if the server has a key")
UNION_TAGS = {"one", "many", "str", "int"}
"""elements of an error's location that name a branch of a union, not a field"""
EXAMPLES = {"one": {"value": {"history": ["1029743"], "k": 5}}, "many": {"value": [{"history": ["1029743"]}, {}]}}


class Server:
    """The state that all endpoints share; `middleware` starts with the outermost layer."""

    def __init__(
        self,
        model_file: ModelFile,
        limits: ServerLimits,
        api_key: str | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.model_file, self.limits, self.api_key = model_file, limits, api_key
        self.metrics = ServerMetrics()
        model_file.on_reload = self.metrics.reloads.inc
        self.batcher = Batcher(limits.batch, limits.waiting, self.metrics.batches.observe)
        for layer in reversed(middleware):
            if hasattr(layer, "attach"):
                layer.attach(model_file)
        self._handler = chain_middleware(middleware, self.run_model)

    async def recommend(self, requests: list[RecommendRequest]) -> list[RecommendResponse]:
        """Return one response per request, in order; raises RequestError and QueueFullError."""
        if not 0 < len(requests) <= self.limits.questions:
            raise RequestError(f"the body has {len(requests)} requests; send 1 to {self.limits.questions}")
        for request in requests:
            check_limits(request, self.limits)
        return await self._handler(requests)

    async def run_model(self, requests: list[RecommendRequest]) -> list[RecommendResponse]:
        """Return the model's responses without middleware and without limits, which middleware may exceed."""
        recommender = self.model_file.recommender
        checked_requests = [check_request(recommender, request) for request in requests]
        recommendations = await self.batcher.answer(recommender, checked_requests)
        self.metrics.newcomers.inc(sum(recommendation.known == 0 for recommendation in recommendations))
        self.metrics.unknown.inc(sum(len(recommendation.unknown) for recommendation in recommendations))
        return [make_response(recommendation) for recommendation in recommendations]

    async def explain(self, request: ExplainRequest) -> list[Reason]:
        """Return the model's reason for each item, as `explain` does; raises RequestError and QueueFullError."""
        check_limits(request, self.limits)
        recommender = self.model_file.recommender
        newcomer = await self.batcher.answer(recommender, [(recommender.question(k=REFERENCE_SIZE), [])])
        columns = {"user": request.user, "context": request.context}
        plan = plan_leave_one_out(recommender, request.items, newcomer[0].items, request.history, **columns)
        answers = await self.batcher.answer(recommender, [(checked, plan.allow) for checked in plan.requests])
        return find_reasons(plan, answers)


def create_app(
    model_file: ModelFile,
    limits: ServerLimits,
    api_key: str | None = None,
    watch: float | None = None,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Return the application without the web page; settings as in configs/serve.yaml, outermost middleware first."""
    server = Server(model_file, limits, api_key, middleware)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(model_file.watch(watch)) if watch else None
        yield
        if watcher:
            watcher.cancel()

    description: Any = {"title": "recsys", "summary": "Ranked items for raw ids", "version": package_version()}
    app = FastAPI(**description, lifespan=lifespan, max_body_size=limits.body)
    app.state.server = server
    dependencies = [Depends(check_api_key)] if api_key else []
    for router in (model_routes, *(layer.router for layer in middleware if hasattr(layer, "router"))):
        app.include_router(router, dependencies=dependencies)
    app.include_router(status_routes)
    app.add_middleware(TelemetryMiddleware, metrics=server.metrics)
    for error_class, handler in HANDLERS.items():
        app.add_exception_handler(error_class, handler)
    return app


def get_server(request: Request) -> Server:
    """Return the server that a request was sent to."""
    server: Server = request.app.state.server
    return server


async def check_api_key(request: Request, key: Annotated[str | None, Security(API_KEY_HEADER)]) -> None:
    """Raise HTTPException with status 401 if the server has an API key and the request has another one or none."""
    expected = get_server(request).api_key
    if expected is not None and not secrets.compare_digest((key or "").encode(), expected.encode()):
        raise HTTPException(401, "send the server's key in the header X-API-Key")


model_routes = APIRouter(responses=ERROR_RESPONSES)
status_routes = APIRouter()


@model_routes.post("/recommend", name="recommend")
async def post_recommend(
    request: Request, body: Annotated[OneOrMany, Body(openapi_examples=EXAMPLES)]
) -> RecommendResponse | list[RecommendResponse]:
    """Return the best items after a history; a list of requests gets a list of responses."""
    responses = await get_server(request).recommend(body if isinstance(body, list) else [body])
    return responses if isinstance(body, list) else responses[0]


@model_routes.post("/similar", name="similar")
async def post_similar(request: Request, body: SimilarRequest) -> RecommendResponse:
    """Return the items recommended after one item."""
    item_request = ItemHistoryRequest(history=[body.item], k=body.k, exclude_seen=True)
    return (await get_server(request).recommend([item_request]))[0]


@model_routes.post("/explain", name="explain")
async def post_explain(request: Request, body: ExplainRequest) -> list[ReasonResponse]:
    """Return the item of the history that each item rests on, if one is enough; the middleware is not involved."""
    reasons = await get_server(request).explain(body)
    return [ReasonResponse.model_construct(**reason._asdict()) for reason in reasons]


@model_routes.get("/describe", name="describe")
async def get_description(request: Request) -> dict[str, Any]:
    """Return the manifest of the model file: inputs with their defaults, model, metrics, versions, licence."""
    return get_server(request).model_file.recommender.describe()


@model_routes.post(
    "/reload", name="reload", responses={409: {"model": Problem, "description": "the new file cannot be used"}}
)
async def post_reload(request: Request) -> dict[str, str]:
    """Load the file at the server's path again, while the current one keeps serving."""
    server = get_server(request)
    try:
        await server.model_file.reload()
    except Exception as error:
        raise HTTPException(409, f"the current file stays in use: {error}") from error
    return {"status": "reloaded"}


@status_routes.get("/health", name="health")
async def get_health() -> dict[str, str]:
    """Return `ok`: the server answers requests."""
    return {"status": "ok"}


@status_routes.get("/metrics", name="metrics", response_class=PlainTextResponse)
async def get_metrics(request: Request) -> Response:
    """Return the server's metrics in Prometheus' text format."""
    return Response(generate_latest(get_server(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _handle_request_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


async def _handle_validation_error(_: Request, error: Exception) -> JSONResponse:
    """Report the first mistake only: the others are often the same one again."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    location = ".".join(str(element) for element in first["loc"] if element not in UNION_TAGS)
    return JSONResponse({"detail": f"{location}: {first['msg']}"}, 422)


async def _handle_full_queue(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})


HANDLERS = {
    RequestError: _handle_request_error,
    RequestValidationError: _handle_validation_error,
    QueueFullError: _handle_full_queue,
}
