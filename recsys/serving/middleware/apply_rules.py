"""Rules around an answer: more candidates are asked for than are shown, and the rules make the list."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.serving.item_table import ItemTable
from recsys.serving.middleware.rules import Candidates, Explore, NotBought, Occasion, Rule, check_rules
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import Answer, Ask, Asked

WIDER = 4


class Arranging:
    """The server's part that applies rules in their order, to the best `pool` candidates and, where the rules leave
    fewer than k of them, to as many more as it takes.

    `items` is a table with a row an item (Parquet or CSV; null or no row: the rule says what that means), read again
    when the file changes; `seed` draws what is explored. Raises ConfigError for rules that the table cannot serve.
    """

    def __init__(self, items: str, item: str, pool: int, rules: Mapping[str, Rule], seed: int | None) -> None:
        self.table = ItemTable(items, item)
        check_rules(rules, self.table)
        self.pool, self.rules = pool, dict(rules)
        self._draw = np.random.default_rng(seed)
        self._explores = any(isinstance(rule, Explore) for rule in rules.values())
        self._sells_again = any(isinstance(rule, NotBought) for rule in rules.values())

    async def __call__(self, asked: list[Asked], then: Ask) -> list[Answer]:
        """Answers in order, each a list by the rules."""
        await self.table.refresh()
        sizes = {n: max(self.pool, one.k) for n, one in enumerate(asked)}
        done: dict[int, Answer] = {}
        while sizes:
            found = await then([self._wider(asked[n], size) for n, size in sizes.items()])
            for n, answer in zip(list(sizes), found, strict=True):
                arranged = self.arrange(answer, asked[n].k, [str(item) for item in asked[n].history], asked[n].facts)
                if len(arranged.items) < asked[n].k and len(answer.items) == sizes[n]:
                    sizes[n] *= WIDER
                else:
                    done[n] = arranged
                    del sizes[n]
        return [done[n] for n in range(len(asked))]

    def arrange(self, answer: Answer, k: int, history: Sequence[str], facts: Mapping[str, Any]) -> Answer:
        """The list of at most k that the rules make of candidates.

        Raises RequestError for a fact that is not of the kind a rule compares with.
        """
        scores = np.array(answer.scores, float)
        best = scores[: self.pool]
        scale = (best.std() or 1.0) if len(best) else 1.0
        n = len(scores)
        found = Candidates(self.table.rows(answer.items), scores / scale, np.arange(n), np.ones(n))
        on = Occasion(self.table, k, history, time.time(), self._draw, facts)
        for name, rule in self.rules.items():
            try:
                found = rule(found, on)
            except (TypeError, ValueError) as error:
                raise RequestError(f"rule {name} cannot read the request's facts: {error}") from error
        places = found.order[:k]
        items = [answer.items[place] for place in places]
        about = {**answer.about, "rules": list(self.rules)}
        if self._explores:  # by item, so that a part further out may move items
            about["propensities"] = dict(zip(items, found.chances[:k].tolist(), strict=True))
        return answer.model_copy(update={"items": items, "scores": scores[places].tolist(), "about": about})

    def _wider(self, one: Asked, size: int) -> Asked:
        seen = False if self._sells_again and one.exclude_seen is None else one.exclude_seen
        return one.model_copy(update={"k": size, "exclude_seen": seen})
