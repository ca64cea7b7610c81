"""The server's middleware for the assistant: `/ask`, and `/catalogue` for titles."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import anyio.from_thread
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from recsys.apps.assistant.catalogue_file import read_catalogue
from recsys.apps.assistant.dialogue import EXAMPLES, SOFTWARE, Reply, reply_by_rules
from recsys.apps.assistant.language_model import create_language_model, reply_with_language_model
from recsys.apps.assistant.search import ProductIndex
from recsys.apps.assistant.sentences import DialogueState
from recsys.apps.assistant.tools import ShopTools
from recsys.serving.app import ERROR_RESPONSES, get_server
from recsys.serving.explain import explain
from recsys.serving.schemas import CallNext, RawId, RecommendRequest, RecommendResponse


class AskRequest(BaseModel):
    """A sentence, the customer who says it, and the state of the dialogue."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=1000, examples=["a blue jacket under 50"])
    history: list[RawId] = Field(default=[], max_length=10_000, description="raw ids, oldest first")
    customer: RawId | None = Field(
        default=None, description="the customer; leave it out if a proxy sends it in a header"
    )
    state: DialogueState | None = Field(default=None, description="state of the last answer; null starts a dialogue")
    k: StrictInt = Field(default=5, ge=1, le=50)


class TitlesRequest(BaseModel):
    """The items whose titles and columns are wanted."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[StrictStr], Field(max_length=1000)]


class Assistant:
    """Middleware that adds endpoints only; settings as in configs/assistant/search.yaml.

    The constructor reads the catalogue. Raises ConfigError.
    """

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
        self.catalogue = read_catalogue(catalogue, columns)
        self.index = ProductIndex(self.catalogue)
        self.language_model = create_language_model(base_url, model, api_key, seconds)
        self.customer_header = customer_header
        self.router = APIRouter(responses=ERROR_RESPONSES)
        self.router.get("/ask")(self.about)
        self.router.post("/ask")(self.ask)
        self.router.post("/catalogue")(self.describe)

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """The answers, unchanged."""
        return await call_next(requests)

    async def about(self) -> dict[str, Any]:
        """The disclosure that one talks to software, and examples of sentences."""
        return {"software": self.software, "examples": EXAMPLES}

    def ask(self, request: Request, question: AskRequest) -> Reply:
        """An answer to one sentence. Nothing is kept: send `state` with the next one."""
        state = question.state or DialogueState()
        tools = self._build_tools(request, question)
        if self.language_model is None:
            return reply_by_rules(tools, question.text, state, question.k)
        return reply_with_language_model(self.language_model, tools, question.text, state, question.k)

    async def describe(self, request: TitlesRequest) -> dict[str, dict[str, dict[str, Any]]]:
        """Titles and columns of the items that the catalogue has."""
        products = {item: self.catalogue.products.get(item) for item in request.items}
        return {"items": {item: {"title": p.title, **p.columns} for item, p in products.items() if p is not None}}

    @property
    def software(self) -> str:
        """The disclosure that the customer talks to software."""
        return SOFTWARE if self.language_model is None else self.language_model.software

    def _build_tools(self, request: Request, question: AskRequest) -> ShopTools:
        """The functions for this question; they call the model through all middleware, as /recommend does."""
        server = get_server(request)

        async def answer_async(model_request: RecommendRequest) -> RecommendResponse:
            return (await server.recommend([model_request]))[0]

        def answer_request(model_request: RecommendRequest) -> RecommendResponse:
            return anyio.from_thread.run(answer_async, model_request)

        history = tuple(map(str, question.history))
        explain_items = partial(explain, server.model_file.recommender)
        customer = self._identify_customer(request, question)
        return ShopTools(self.catalogue, self.index, answer_request, explain_items, history, customer, server.limits)

    def _identify_customer(self, request: Request, question: AskRequest) -> RawId | None:
        """The customer in the proxy's header; the one in the question if no header is configured, as for /recommend."""
        if self.customer_header is None:
            return question.customer
        name = request.headers.get(self.customer_header)
        if question.customer is not None and str(question.customer) != name:
            raise HTTPException(403, f"customer differs from the header {self.customer_header}; leave it out")
        return name
