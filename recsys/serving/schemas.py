"""Request and response bodies of the HTTP API, their size limits, and the protocol of middleware."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, StrictStr, Tag

from recsys.serving.recommender import CheckedRequest, Recommendation, Recommender, RequestError, check_allow

RawId = StrictStr | StrictInt


@dataclass(frozen=True)
class ServerLimits:
    """The `limits` of configs/serve.yaml."""

    history: int = 2000
    ids: int = 10_000
    k: int = 1000
    questions: int = 256
    body: int = 4_194_304
    waiting: int = 1024
    batch: int = 64
    seconds: int = 10


class RecommendRequest(BaseModel):
    """One request for a list; fields left out take their defaults."""

    model_config = ConfigDict(extra="forbid")

    history: list[RawId] = Field(default=[], description="raw ids, oldest first", examples=[["1029743"]])
    user: RawId | dict[str, Any] | None = Field(default=None, description="raw id, or the user's columns by name")
    context: dict[str, Any] | None = Field(default=None, description="the other inputs that /describe lists, by name")
    k: StrictInt = Field(default=10, ge=1, description="number of items in the list")
    exclude_seen: StrictBool | None = Field(default=None, description="leave out the history; null: as in training")
    allow: list[RawId] | None = Field(default=None, description="raw ids to choose from; null: all")
    deny: list[RawId] | None = Field(default=None, description="raw ids to leave out")
    customer: RawId | None = Field(default=None, description="who asks, for the middleware; the model never reads it")
    facts: dict[str, Any] = Field(default={}, description="values by name for the server's rules, such as a region")


class ItemHistoryRequest(RecommendRequest):
    """A request whose history is one item and belongs to nobody, so it needs no consent."""


def _tag_of(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


OneOrMany = Annotated[
    Annotated[RecommendRequest, Tag("one")] | Annotated[list[RecommendRequest], Tag("many")], Discriminator(_tag_of)
]
"""the tag is chosen before validation, so that a mistake is reported once"""


class SimilarRequest(BaseModel):
    """A request for the items that go with one item."""

    model_config = ConfigDict(extra="forbid")

    item: RawId
    k: StrictInt = Field(default=10, ge=1)


class ExplainRequest(BaseModel):
    """Items to explain and the request they were recommended for; its other settings do not change the reasons."""

    model_config = ConfigDict(extra="forbid")

    items: list[RawId] = Field(description="raw ids", examples=[["1106523"]])
    history: list[RawId] = Field(default=[], description="raw ids, oldest first", examples=[["1029743"]])
    user: RawId | dict[str, Any] | None = Field(default=None, description="as in /recommend")
    context: dict[str, Any] | None = Field(default=None, description="as in /recommend")


class ReasonResponse(BaseModel):
    """Why one item is recommended."""

    item: str
    because: str | None = Field(description="the item of the history without which it is least likely; null: none")
    drop: float = Field(description="decrease of its log-probability without that item")


class RecommendResponse(BaseModel):
    """The list for one request, best item first; shorter than k if fewer items remain."""

    items: list[str]
    scores: list[float]
    known: int = Field(description="events of the history that the model knows; 0: the list is the one for newcomers")
    unknown: list[str] = Field(description="raw ids of the history that the model does not know")
    about: dict[str, Any] = Field(default={}, description="what the server's middleware reports about this list")


CallNext = Callable[[list[RecommendRequest]], Awaitable[list[RecommendResponse]]]


class Middleware(Protocol):
    """A layer around the model: it may change requests before it passes them on, and responses before it returns them.

    Calls may overlap. A middleware may also have a `router` with endpoints of its own, and a method
    `attach(model_file)`, which the server calls once before the first request.
    """

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext, /) -> list[RecommendResponse]:
        """Return one response per request, in order."""
        ...


class Problem(BaseModel):
    """The body of an error response."""

    detail: str


def chain_middleware(middleware: Sequence[Middleware], handler: CallNext) -> CallNext:
    """Return `handler` wrapped in middleware, of which the first is the outermost."""
    for layer in reversed(middleware):
        handler = partial(_call_layer, layer, handler)
    return handler


async def _call_layer(
    layer: Middleware, call_next: CallNext, requests: list[RecommendRequest]
) -> list[RecommendResponse]:
    return await layer(requests, call_next)


def make_response(recommendation: Recommendation) -> RecommendResponse:
    """Return the body of the response for a recommendation."""
    return RecommendResponse.model_construct(**recommendation._asdict(), about={})


def check_limits(request: RecommendRequest | ExplainRequest, limits: ServerLimits) -> None:
    """Raise RequestError for a request that is larger than the limits."""
    maxima = {"history": limits.history, "items": limits.k, "k": limits.k, "allow": limits.ids, "deny": limits.ids}
    for name, maximum in maxima.items():
        value = getattr(request, name, None)
        if isinstance(value, int) and value > maximum:
            raise RequestError(f"{name}={value} is too large: at most {maximum:,} is allowed")
        if isinstance(value, list) and len(value) > maximum:
            raise RequestError(f"{name} has {len(value):,} entries; at most {maximum:,} are allowed")


def check_request(recommender: Recommender, request: RecommendRequest) -> tuple[CheckedRequest, list[str]]:
    """Return a request as `Recommender.answer` takes it, and its allowed items; raises RequestError."""
    fields = request.history, request.user, request.context, request.k, request.exclude_seen, request.deny
    return recommender.question(*fields), check_allow(request.allow)
