"""Five functions on a shop's products, the same in Python, over MCP and for a language model.

None of them has a parameter that says who asks: the customer and the history belong to the object, and whoever makes it
got them from the caller's authentication.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

from pydantic import BaseModel, Field, Strict, TypeAdapter, ValidationError, validate_call

from recsys.apps.assistant.catalogue import Catalogue, Product, Wishes
from recsys.apps.assistant.search import DEPTH, Index, ordered
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import RecommendRequest, RecommendResponse, ServerLimits

if TYPE_CHECKING:
    from recsys.serving.explain import Reason

NAMES = ("search", "recommend", "similar", "explain", "compare")
PERSONAL = 0.1
"""of its score is what a found product gains where it suits the customer best"""

Text = Annotated[str, Field(min_length=1, max_length=1000, description="words to search for")]
Item = Annotated[str, Field(min_length=1, max_length=200, description="a product's id")]
Count = Annotated[int, Strict(), Field(ge=1, le=50, description="products at most")]
Wished = Annotated[Wishes | None, Field(description="what every product has to be")]


class Listed(BaseModel):
    """A product in an answer."""

    item: str
    title: str
    score: float | None = Field(default=None, description="only comparable within one list")
    because: str | None = Field(default=None, description="the item of the history that speaks for it most")
    columns: dict[str, Any] = Field(default={}, description="price, category, in_stock and the table's other columns")


class Found(BaseModel):
    """Products in stock, best first."""

    items: list[Listed]
    note: str = Field(default="", description="what the list is, where it is not what its function gives")


class Explained(BaseModel):
    """Why a product is recommended to this customer."""

    item: str
    title: str
    because: str | None = Field(description="the item of the history that speaks for it most; null: none stands out")
    because_title: str | None
    say: str


class Compared(BaseModel):
    """Products side by side."""

    items: list[Listed]
    differ: dict[str, dict[str, Any]] = Field(description="columns in which they differ: column, then id, then value")
    cheapest: str | None = Field(description="its id")
    closest: str | None = Field(description="id of the one that the history speaks for most")


class Offer(NamedTuple):
    """A function for those who cannot read Python."""

    name: str
    says: str
    arguments: dict[str, Any]
    answer: dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """The five functions for one customer; `for_customer` gives those of another one at no cost."""

    catalogue: Catalogue
    index: Index
    ask: Callable[[RecommendRequest], RecommendResponse]
    """the model, with the server's parts around it where there is a server"""
    reasons: "Callable[[Sequence[str], Sequence[str]], list[Reason]]"
    """items and history to a reason each"""
    history: tuple[str, ...] = ()
    """raw ids, oldest first"""
    customer: str | int | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    @validate_call
    def search(self, text: Text, k: Count = 5, wishes: Wished = None) -> Found:
        """Products whose title or description has these words, those that suit the customer first among equals."""
        found = self.index.find(text, among := self._chosen(wishes))
        best = list(found)[:DEPTH]
        own = self._ranked(self.history, best, k=len(best), exclude_seen=False) if best and self.history else None
        if own is not None and own.known:
            suits = {item: 1 - place / len(best) for place, item in enumerate(own.items)}
            found = ordered({item: found[item] * (1 + PERSONAL * suits.get(item, 0.0)) for item in best})
        note = "" if found else "Nothing in stock has these words." if among else "Nothing in stock is like that."
        return Found(items=self._listed(list(found.items())[:k]), note=note)

    @validate_call
    def recommend(self, k: Count = 5, wishes: Wished = None) -> Found:
        """Products for the customer, by what they had before."""
        among = self._chosen(wishes)
        answer = self._ranked(self.history, among, k) if among else None
        if answer is None or not answer.items:
            return Found(items=[], note="Nothing in stock is like that.")
        because = self._because(answer.items) if answer.known else {}
        note = "" if answer.known else "Nothing is known of the customer, so this is what most people like."
        return Found(items=self._listed(zip(answer.items, answer.scores, strict=True), because), note=note)

    @validate_call
    def similar(self, item: Item, k: Count = 5, wishes: Wished = None) -> Found:
        """Products that go with this one, which need not be in stock itself."""
        product = self._product(item)
        among = self._chosen(wishes, [item])
        answer = self._ranked([item], among, k, exclude_seen=True) if among else None
        if answer is not None and answer.known:
            return Found(items=self._listed(zip(answer.items, answer.scores, strict=True)))
        found = list(self.index.find(product.text, among).items())[:k]
        note = "The model does not know this product yet, so these have a similar text." if found else ""
        return Found(items=self._listed(found), note=note or "Nothing in stock is like that.")

    @validate_call
    def explain(self, item: Item) -> Explained:
        """Why this product, which has to be in stock, is recommended to the customer."""
        product = self._product(item)
        if not product.in_stock:
            raise RequestError(f"'{item}' ({product.title}) is out of stock, so it is not recommended; ask for similar")
        known = self._ranked(self.history, [item], 1, exclude_seen=False).known if self.history else 0
        because = self._because([item]).get(item) if known else None
        title = self._title(because) if because else None
        say = (
            f"because of {title}" if because else "no single thing you had before speaks for it; it is liked in general"
        )
        return Explained(item=item, title=product.title, because=because, because_title=title, say=say)

    @validate_call
    def compare(self, items: Annotated[list[Item], Field(min_length=2, max_length=5)]) -> Compared:
        """Two to five products side by side: where they differ, the cheapest, and the one closest to the history."""
        products = [self._product(item) for item in dict.fromkeys(items)]
        table = {product.item: product.columns for product in products}
        names = dict.fromkeys(name for columns in table.values() for name in columns)
        cells = {name: {item: columns.get(name) for item, columns in table.items()} for name in names}
        priced = {product.item: product.price for product in products if product.price is not None}
        own = self._ranked(self.history, list(table), len(table), exclude_seen=False) if self.history else None
        return Compared(
            items=self._listed((product.item, None) for product in products),
            differ={name: row for name, row in cells.items() if len(set(map(str, row.values()))) > 1},
            cheapest=min(priced, key=priced.__getitem__) if priced else None,
            closest=own.items[0] if own is not None and own.known and own.items else None,
        )

    def call(self, name: str, arguments: dict[str, Any]) -> BaseModel:
        """What the function of this name answers; RequestError, in a line, for arguments that it does not take."""
        if name not in NAMES:
            raise RequestError(f"there is no function '{name}'; there are: {', '.join(NAMES)}")
        try:
            answer: BaseModel = getattr(self, name)(**arguments)
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return answer

    @classmethod
    def offered(cls) -> list[Offer]:
        """Each function as JSON Schema describes it."""
        return [_offer(name, getattr(cls, name)) for name in NAMES]

    def _ranked(
        self, history: Sequence[str], among: Sequence[str], k: int, exclude_seen: bool | None = None
    ) -> RecommendResponse:
        """The model's order of some products. More than a question may name are left out of its list instead."""
        fits = len(among) <= self.limits.ids
        own = [*history][-self.limits.history :]
        wanted = min(k if fits else self.limits.k, self.limits.k)
        asked = RecommendRequest(
            history=[*own],
            k=wanted,
            exclude_seen=exclude_seen,
            allow=[*among] if fits else None,
            customer=self.customer,
        )
        answer, known = self.ask(asked), set(among)
        kept = [n for n, item in enumerate(answer.items) if item in known][:k]
        cut = {"items": [answer.items[n] for n in kept], "scores": [answer.scores[n] for n in kept]}
        return answer.model_copy(update=cut)

    def _because(self, items: Sequence[str]) -> dict[str, str]:
        """The item of the history that speaks for each, where one does."""
        if not self.history or not items:
            return {}
        found = self.reasons(items, self.history)
        return {one.item: one.because for one in found if one.because is not None}

    def _chosen(self, wishes: Wishes | None, leave_out: Sequence[str] = ()) -> list[str]:
        return self.catalogue.chosen(wishes or Wishes(), leave_out)

    def _product(self, item: str) -> Product:
        if item not in self.catalogue.products:
            raise RequestError(f"there is no product '{item}'; search gives ids")
        return self.catalogue.products[item]

    def _title(self, item: str) -> str:
        return self.catalogue.products[item].title if item in self.catalogue.products else item

    def _listed(
        self, scored: Iterable[tuple[str, float | None]], because: dict[str, str] | None = None
    ) -> list[Listed]:
        return [
            Listed(
                item=item,
                title=self._title(item),
                score=score,
                because=(because or {}).get(item),
                columns=self.catalogue.products[item].columns,
            )
            for item, score in scored
        ]


def _offer(name: str, function: Any) -> Offer:
    without_self: Any = partial(function, None)
    answer = TypeAdapter(get_type_hints(function)["return"])
    return Offer(name, inspect.getdoc(function) or "", TypeAdapter(without_self).json_schema(), answer.json_schema())
