"""What is said over HTTP: questions, answers, problems, and how large a question may be."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, StrictStr, Tag

from recsys.serving.recommender import Question, Recommendation, Recommender, RequestError, allowed

Id = StrictStr | StrictInt


@dataclass(frozen=True)
class Limits:
    """The `limits` of configs/serve.yaml."""

    history: int = 2000
    ids: int = 10_000
    k: int = 1000
    questions: int = 256
    body: int = 4_194_304
    waiting: int = 1024
    batch: int = 64
    seconds: int = 10


class Asked(BaseModel):
    """One user's question; what is left out takes its default."""

    model_config = ConfigDict(extra="forbid")

    history: list[Id] = Field(default=[], description="raw ids, oldest first", examples=[["1029743"]])
    user: Id | dict[str, Any] | None = Field(default=None, description="raw id, or the user's columns by name")
    context: dict[str, Any] | None = Field(default=None, description="the other inputs that /describe lists, by name")
    k: StrictInt = Field(default=10, ge=1, description="items of the list")
    exclude_seen: StrictBool | None = Field(default=None, description="leave out the history; null: as trained")
    allow: list[Id] | None = Field(default=None, description="raw ids to choose from; null: all")
    deny: list[Id] | None = Field(default=None, description="raw ids to leave out")
    customer: Id | None = Field(default=None, description="who asks, for the server's parts; the model never reads it")
    facts: dict[str, Any] = Field(default={}, description="values by name for the server's rules, such as a region")


class AskedOfItem(Asked):
    """What goes with one item, which is the history: nobody's, so that it needs no consent."""


def _form(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


OneOrMany = Annotated[Annotated[Asked, Tag("one")] | Annotated[list[Asked], Tag("many")], Discriminator(_form)]
"""told apart before they are read, so that a mistake is explained once"""


class Similar(BaseModel):
    """One item; the answer is what goes with it."""

    model_config = ConfigDict(extra="forbid")

    item: Id
    k: StrictInt = Field(default=10, ge=1)


class Explained(BaseModel):
    """Items to explain and the question whose answer they are; its other settings do not change the reasons."""

    model_config = ConfigDict(extra="forbid")

    items: list[Id] = Field(description="raw ids", examples=[["1106523"]])
    history: list[Id] = Field(default=[], description="raw ids, oldest first", examples=[["1029743"]])
    user: Id | dict[str, Any] | None = Field(default=None, description="as in /recommend")
    context: dict[str, Any] | None = Field(default=None, description="as in /recommend")


class Why(BaseModel):
    """Why one item is recommended."""

    item: str
    because: str | None = Field(description="the item of the history without which it is least likely; null: none")
    drop: float = Field(description="what its log-probability then loses")


class Answer(BaseModel):
    """The list for one question, best first; shorter than k where fewer items remain."""

    items: list[str]
    scores: list[float]
    known: int = Field(description="events of the history that the model knows; 0: the list of a newcomer")
    unknown: list[str] = Field(description="raw ids of the history that it does not know")
    about: dict[str, Any] = Field(default={}, description="what the server's parts say of this list")


Ask = Callable[[list[Asked]], Awaitable[list[Answer]]]


class Part(Protocol):
    """What a server does around its answers: it changes questions before it asks `then`, or answers after.

    A part may be asked about many requests at once, may have a `router` with endpoints of its own, and may have
    `serves(artefact)`, which is told the file before the first question.
    """

    async def __call__(self, asked: list[Asked], then: Ask) -> list[Answer]:
        """Answers in order."""
        ...


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


def answered(found: Recommendation) -> Answer:
    """A recommendation in the words of the API."""
    return Answer.model_construct(**found._asdict(), about={})


def bound(asked: Asked | Explained, limits: Limits) -> None:
    """Raises RequestError for a question that is too large."""
    at_most = {"history": limits.history, "items": limits.k, "k": limits.k, "allow": limits.ids, "deny": limits.ids}
    for name, most in at_most.items():
        value = getattr(asked, name, None)
        size = value if isinstance(value, int) else len(value or ())
        if size > most:
            raise RequestError(f"{name} is {size:,}; at most {most:,} are answered")


def checked(recommender: Recommender, asked: Asked) -> tuple[Question, list[str]]:
    """A question and its allowed items as a recommender takes them; RequestError for what it cannot answer."""
    parts = asked.history, asked.user, asked.context, asked.k, asked.exclude_seen, asked.deny
    return recommender.question(*parts), allowed(asked.allow)
