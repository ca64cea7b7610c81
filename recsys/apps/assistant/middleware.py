"""The assistant as a part of the server: `/ask`, and `/catalogue` for titles."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import anyio.from_thread
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from recsys.apps.assistant import catalogue as shop
from recsys.apps.assistant import chat, dialogue
from recsys.apps.assistant.dialogue import EXAMPLES, Reply
from recsys.apps.assistant.search import Index
from recsys.apps.assistant.sentences import State
from recsys.apps.assistant.tools import Tools
from recsys.serving.app import ERROR_RESPONSES, get_server
from recsys.serving.explain import explain
from recsys.serving.schemas import CallNext, RawId, RecommendRequest, RecommendResponse


class Question(BaseModel):
    """A sentence, who says it, and what the dialogue has come to."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=1000, examples=["a blue jacket under 50"])
    history: list[RawId] = Field(default=[], max_length=10_000, description="raw ids, oldest first")
    customer: RawId | None = Field(
        default=None, description="who asks; where a proxy says so in a header, leave it out"
    )
    state: State | None = Field(default=None, description="of the last answer; null begins")
    k: StrictInt = Field(default=5, ge=1, le=50)


class Wanted(BaseModel):
    """Items to be described."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[StrictStr], Field(max_length=1000)]


class Assistant:
    """Settings as in configs/assistant/search.yaml; reads the catalogue at once. Raises ConfigError."""

    def __init__(
        self,
        catalogue: str,
        columns: Mapping[str, str | None],
        base_url: str | None,
        model: str | None,
        api_key: str | None,
        seconds: float,
        customer_header: str | None,
    ) -> None:
        self.catalogue = shop.read(catalogue, columns)
        self.index = Index(self.catalogue)
        self.language_model = chat.made(base_url, model, api_key, seconds)
        self.customer_header = customer_header
        self.router = APIRouter(responses=ERROR_RESPONSES)
        self.router.get("/ask")(self.about)
        self.router.post("/ask")(self.ask)
        self.router.post("/catalogue")(self.describe)

    async def __call__(self, asked: list[RecommendRequest], then: CallNext) -> list[RecommendResponse]:
        """The answers as they are: the part has only endpoints."""
        return await then(asked)

    async def about(self) -> dict[str, Any]:
        """That one talks to software, and what can be said to it."""
        return {"software": self.software, "examples": EXAMPLES}

    def ask(self, request: Request, question: Question) -> Reply:
        """An answer to one sentence. Nothing is kept: send `state` with the next one."""
        state = question.state or State()
        tools = self._tools(request, question)
        if self.language_model is None:
            return dialogue.reply(tools, question.text, state, question.k)
        return chat.reply(self.language_model, tools, question.text, state, question.k)

    async def describe(self, wanted: Wanted) -> dict[str, dict[str, dict[str, Any]]]:
        """Titles and columns of the items that the catalogue has."""
        found = {item: self.catalogue.products[item] for item in wanted.items if item in self.catalogue.products}
        return {"items": {item: {"title": one.title, **one.columns} for item, one in found.items()}}

    @property
    def software(self) -> str:
        """The disclosure."""
        return dialogue.SOFTWARE if self.language_model is None else self.language_model.software

    def _tools(self, request: Request, question: Question) -> Tools:
        """The functions for this question; the model is asked as by /recommend, with all parts around it."""
        server = get_server(request)

        async def all_parts(asked: RecommendRequest) -> RecommendResponse:
            return (await server.recommend([asked]))[0]

        def ask(asked: RecommendRequest) -> RecommendResponse:
            return anyio.from_thread.run(all_parts, asked)

        history = tuple(map(str, question.history))
        reasons = partial(explain, server.model_file.recommender)
        customer = self._customer(request, question)
        return Tools(self.catalogue, self.index, ask, reasons, history, customer, server.limits)

    def _customer(self, request: Request, question: Question) -> RawId | None:
        """Whom the proxy named; without a header set, whoever the caller says, as for /recommend."""
        if self.customer_header is None:
            return question.customer
        named = request.headers.get(self.customer_header)
        if question.customer is not None and str(question.customer) != named:
            raise HTTPException(403, f"customer is another one than {self.customer_header} says; leave it out")
        return named
