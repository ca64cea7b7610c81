"""Five functions on a shop's products, the same in Python, over MCP and for a language model.

None of them has a parameter for the customer: the customer and the history belong to the object, and whoever creates
it got them from the caller's authentication.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

from pydantic import BaseModel, Field, Strict, TypeAdapter, ValidationError, validate_call

from recsys.apps.assistant.catalogue import Catalogue, CatalogueProduct, Wishes
from recsys.apps.assistant.results import ListedProduct, ProductComparison, ProductExplanation, ProductList
from recsys.apps.assistant.search import DEPTH, ProductIndex, sort_by_score
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import RecommendRequest, RecommendResponse, ServerLimits

if TYPE_CHECKING:
    from recsys.serving.explain import Reason

TOOL_NAMES = ("search", "recommend", "similar", "explain", "compare")
PERSONAL_BOOST = 0.1
"""fraction of its score that a search adds to the product that suits the customer best"""

SearchText = Annotated[str, Field(min_length=1, max_length=1000, description="words to search for")]
ItemId = Annotated[str, Field(min_length=1, max_length=200, description="a product's id")]
ListLength = Annotated[int, Strict(), Field(ge=1, le=50, description="maximum number of products")]
OptionalWishes = Annotated[Wishes | None, Field(description="conditions that every product has to meet")]
Histories = Mapping[str, Sequence[str]]
"""raw ids by customer, oldest first"""


class ToolDescription(NamedTuple):
    """A function as JSON Schema describes it, for MCP and language models."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


@dataclass(frozen=True)
class ShopTools:
    """The five functions for one customer; `dataclasses.replace` gives those of another one at no cost."""

    catalogue: Catalogue
    index: ProductIndex
    answer_request: Callable[[RecommendRequest], RecommendResponse]
    """the model, with the server's middleware around it if there is a server"""
    explain_items: "Callable[[Sequence[str], Sequence[str]], list[Reason]]"
    """reasons for items, one each, from items and history"""
    history: tuple[str, ...] = ()
    """raw ids, oldest first"""
    customer: str | int | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    @validate_call
    def search(self, text: SearchText, k: ListLength = 5, wishes: OptionalWishes = None) -> ProductList:
        """Products whose title or description has these words; among equals, the best for the customer come first."""
        candidates = self._select(wishes)
        scores = self.index.find(text, candidates)
        best = list(scores)[:DEPTH]
        answer = self._rank(self.history, best, k=len(best), exclude_seen=False) if best and self.history else None
        if answer is not None and answer.known:
            boosts = {item: 1 - position / len(best) for position, item in enumerate(answer.items)}
            scores = sort_by_score({item: scores[item] * (1 + PERSONAL_BOOST * boosts.get(item, 0.0)) for item in best})
        nothing = "Nothing in stock has these words." if candidates else "Nothing in stock is like that."
        return ProductList(items=self._list(list(scores.items())[:k]), note="" if scores else nothing)

    @validate_call
    def recommend(self, k: ListLength = 5, wishes: OptionalWishes = None) -> ProductList:
        """Products for the customer, based on their history."""
        candidates = self._select(wishes)
        answer = self._rank(self.history, candidates, k) if candidates else None
        if answer is None or not answer.items:
            return ProductList(items=[], note="Nothing in stock is like that.")
        because = self._find_reasons(answer.items) if answer.known else {}
        note = "" if answer.known else "Nothing is known about the customer, so this is what most people like."
        return ProductList(items=self._list(zip(answer.items, answer.scores, strict=True), because), note=note)

    @validate_call
    def similar(self, item: ItemId, k: ListLength = 5, wishes: OptionalWishes = None) -> ProductList:
        """Products that go with this one, which need not be in stock."""
        product = self._get_product(item)
        candidates = self._select(wishes, [item])
        answer = self._rank([item], candidates, k, exclude_seen=True) if candidates else None
        if answer is not None and answer.known:
            return ProductList(items=self._list(zip(answer.items, answer.scores, strict=True)))
        by_text = list(self.index.find(product.text, candidates).items())[:k]
        note = "The model does not know this product yet, so these have a similar text." if by_text else ""
        return ProductList(items=self._list(by_text), note=note or "Nothing in stock is like that.")

    @validate_call
    def explain(self, item: ItemId) -> ProductExplanation:
        """Why this product is recommended to the customer; it has to be in stock."""
        product = self._get_product(item)
        if not product.in_stock:
            raise RequestError(
                f"'{item}' ({product.title}) is out of stock, so it is not recommended; ask for similar products"
            )
        n_known = self._rank(self.history, [item], 1, exclude_seen=False).known if self.history else 0
        because = self._find_reasons([item]).get(item) if n_known else None
        title = self._get_title(because) if because else None
        say = (
            f"because of {title}"
            if because
            else "nothing you had before stands out as a reason; it is liked in general"
        )
        return ProductExplanation(item=item, title=product.title, because=because, because_title=title, say=say)

    @validate_call
    def compare(self, items: Annotated[list[ItemId], Field(min_length=2, max_length=5)]) -> ProductComparison:
        """Two to five products side by side: where they differ, the cheapest, and the one closest to the history."""
        products = [self._get_product(item) for item in dict.fromkeys(items)]
        table = {product.item: product.columns for product in products}
        names = dict.fromkeys(name for columns in table.values() for name in columns)
        cells = {name: {item: columns.get(name) for item, columns in table.items()} for name in names}
        prices = {product.item: product.price for product in products if product.price is not None}
        answer = self._rank(self.history, list(table), len(table), exclude_seen=False) if self.history else None
        return ProductComparison(
            items=self._list((product.item, None) for product in products),
            differ={name: row for name, row in cells.items() if len(set(map(str, row.values()))) > 1},
            cheapest=min(prices, key=prices.__getitem__) if prices else None,
            closest=answer.items[0] if answer is not None and answer.known and answer.items else None,
        )

    def call(self, name: str, arguments: dict[str, Any]) -> BaseModel:
        """The result of the function `name`. Raises RequestError with one line for arguments that it does not take."""
        if name not in TOOL_NAMES:
            raise RequestError(f"there is no function '{name}'; there are: {', '.join(TOOL_NAMES)}")
        try:
            result: BaseModel = getattr(self, name)(**arguments)
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return result

    def _rank(
        self, history: Sequence[str], items: Sequence[str], k: int, exclude_seen: bool | None = None
    ) -> RecommendResponse:
        """The model's ranking of these items.

        A request may name only so many items: if there are more, the model ranks all items and the others are dropped.
        """
        fits = len(items) <= self.limits.ids
        request = RecommendRequest(
            history=[*[*history][-self.limits.history :]],
            k=min(k if fits else self.limits.k, self.limits.k),
            exclude_seen=exclude_seen,
            allow=[*items] if fits else None,
            customer=self.customer,
        )
        answer, wanted = self.answer_request(request), set(items)
        positions = [n for n, item in enumerate(answer.items) if item in wanted][:k]
        lists = {"items": [answer.items[n] for n in positions], "scores": [answer.scores[n] for n in positions]}
        return answer.model_copy(update=lists)

    def _find_reasons(self, items: Sequence[str]) -> dict[str, str]:
        """The item of the history that is the main reason for each of `items`; items without a reason are left out."""
        if not self.history or not items:
            return {}
        reasons = self.explain_items(items, self.history)
        return {reason.item: reason.because for reason in reasons if reason.because is not None}

    def _select(self, wishes: Wishes | None, exclude: Sequence[str] = ()) -> list[str]:
        return self.catalogue.select(wishes or Wishes(), exclude)

    def _get_product(self, item: str) -> CatalogueProduct:
        if item not in self.catalogue.products:
            raise RequestError(f"there is no product '{item}'; use an id that search returned")
        return self.catalogue.products[item]

    def _get_title(self, item: str) -> str:
        return self.catalogue.products[item].title if item in self.catalogue.products else item

    def _list(
        self, scores: Iterable[tuple[str, float | None]], because: Mapping[str, str] | None = None
    ) -> list[ListedProduct]:
        return [
            ListedProduct(
                item=item,
                title=self._get_title(item),
                score=score,
                because=(because or {}).get(item),
                columns=self.catalogue.products[item].columns,
            )
            for item, score in scores
        ]


def describe_tools() -> list[ToolDescription]:
    """All functions, each as JSON Schema describes it."""
    return [_describe_tool(name, getattr(ShopTools, name)) for name in TOOL_NAMES]


def _describe_tool(name: str, function: Any) -> ToolDescription:
    without_self: Any = partial(function, None)
    arguments, result = TypeAdapter(without_self), TypeAdapter(get_type_hints(function)["return"])
    return ToolDescription(name, inspect.getdoc(function) or "", arguments.json_schema(), result.json_schema())
