"""Middleware that applies a shop's rules: it asks for more candidates than the list needs and lets the rules choose."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.serving.item_table import ItemTable
from recsys.serving.middleware.rules import Candidates, Explore, NotBought, RuleContext, ShopRule, check_rules
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import CallNext, RecommendRequest, RecommendResponse

GROWTH = 4
"""factor by which the number of candidates grows while the rules leave fewer than k"""


class RuleMiddleware:
    """Applies rules, in their order, to the best `pool` candidates, and to more of them if fewer than k remain.

    `items` is a table with one row per item (Parquet or CSV), which is read again when the file changes; each rule
    says what null and a missing row mean. `seed` seeds exploration. Raises ConfigError for rules that do not fit the
    table.
    """

    def __init__(self, items: str, item: str, pool: int, rules: Mapping[str, ShopRule], seed: int | None) -> None:
        self.table = ItemTable(items, item)
        check_rules(rules, self.table)
        self.pool, self.rules = pool, dict(rules)
        self._random = np.random.default_rng(seed)
        self._explores = any(isinstance(rule, Explore) for rule in rules.values())
        self._repeats_consumables = any(isinstance(rule, NotBought) for rule in rules.values())

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Return one response per request, in order, each with the list that the rules make."""
        await self.table.refresh()
        sizes = {index: max(self.pool, request.k) for index, request in enumerate(requests)}
        finished: dict[int, RecommendResponse] = {}
        while sizes:
            responses = await call_next([self._widen(requests[index], size) for index, size in sizes.items()])
            for index, response in zip(list(sizes), responses, strict=True):
                request = requests[index]
                arranged = self.arrange(response, request.k, [str(item) for item in request.history], request.facts)
                if len(arranged.items) < request.k and len(response.items) == sizes[index]:
                    sizes[index] *= GROWTH
                else:
                    finished[index] = arranged
                    del sizes[index]
        return [finished[index] for index in range(len(requests))]

    def arrange(
        self, response: RecommendResponse, k: int, history: Sequence[str], facts: Mapping[str, Any]
    ) -> RecommendResponse:
        """Return the response with the list of at most k items that the rules make of its candidates.

        Raises RequestError for a fact of a type that a rule cannot compare.
        """
        scores = np.array(response.scores, float)
        candidates = self._apply_rules(response.items, scores, k, history, facts)
        positions = candidates.order[:k]
        items = [response.items[position] for position in positions]
        about = {**response.about, "rules": list(self.rules)}
        if self._explores:  # by item, because an outer middleware may move items
            about["propensities"] = dict(zip(items, candidates.propensities[:k].tolist(), strict=True))
        return response.model_copy(update={"items": items, "scores": scores[positions].tolist(), "about": about})

    def _apply_rules(
        self, items: list[str], scores: np.ndarray, k: int, history: Sequence[str], facts: Mapping[str, Any]
    ) -> Candidates:
        n, best = len(scores), scores[: self.pool]
        scale = (best.std() or 1.0) if len(best) else 1.0
        candidates = Candidates(self.table.rows(items), scores / scale, np.arange(n), np.ones(n))
        context = RuleContext(self.table, k, history, time.time(), self._random, facts)
        for name, rule in self.rules.items():
            try:
                candidates = rule(candidates, context)
            except (TypeError, ValueError) as error:
                raise RequestError(f"rule {name} cannot read the request's facts: {error}") from error
        return candidates

    def _widen(self, request: RecommendRequest, size: int) -> RecommendRequest:
        keep_seen = self._repeats_consumables and request.exclude_seen is None
        exclude_seen = False if keep_seen else request.exclude_seen
        return request.model_copy(update={"k": size, "exclude_seen": exclude_seen})
