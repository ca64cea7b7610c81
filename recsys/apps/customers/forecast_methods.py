"""Two ways to tell what customers will do within a horizon, both learned from what lies before a day alone.

C customers, W windows.
"""

from typing import NamedTuple, Protocol

import numpy as np

from recsys.apps.customers import bgnbd
from recsys.apps.customers.purchases import Ledger, Standing
from recsys.extras import require_extra

Array = np.ndarray
WINDOWS = 6
"""that a regression learns from at most"""
SHRINK = 1.0
"""orders of everybody's value that a customer's own are mixed with: docs/experiments.md"""


class Expected(NamedTuple):
    """What is expected of each customer (C,) within the horizon."""

    p_buys: Array
    orders: Array


class Rung(Protocol):
    """A way to forecast."""

    def fit(self, ledger: Ledger, cut: int, horizon: int) -> bool:
        """Learn from the days before `cut`; False where they are too few."""
        ...

    def expect(self, standing: Standing, horizon: int) -> Expected:
        """What the customers will do in the `horizon` days after `standing.today`."""
        ...


class Logistic:
    """Logistic regression for whether, Poisson regression for how often, on log RFM and the log of the age.

    Examples are customers as they stood at earlier cut-offs, half a horizon apart, and what they did in the horizon
    after each; no such window reaches beyond the cut.
    """

    def fit(self, ledger: Ledger, cut: int, horizon: int) -> bool:
        """Learn from the windows before `cut`; False where none fits behind as many days of history."""
        with require_extra("insights"):
            from sklearn.linear_model import LogisticRegression, PoissonRegressor
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        windows = [examples(ledger, start, horizon) for start in cutoffs(ledger, cut, horizon)]
        if not windows:
            return False
        features, orders = (np.concatenate(part) for part in zip(*windows, strict=True))
        if len(np.unique(orders > 0)) < 2:
            return False
        self.whether = make_pipeline(StandardScaler(), LogisticRegression(C=1e3, max_iter=500))
        self.often = make_pipeline(StandardScaler(), PoissonRegressor(alpha=1e-4, max_iter=500))
        self.whether.fit(features, orders > 0)
        self.often.fit(features, orders)
        return True

    def expect(self, standing: Standing, horizon: int) -> Expected:  # noqa: ARG002 - it was learned for one
        """What the customers will do in the horizon that was learned."""
        seen = features_of(standing)
        return Expected(self.whether.predict_proba(seen)[:, 1], self.often.predict(seen))


class BuyTillInactive:
    """BG/NBD."""

    model: bgnbd.BgNbd

    def fit(self, ledger: Ledger, cut: int, horizon: int) -> bool:  # noqa: ARG002 - it forecasts any
        """Learn from the orders before `cut`; False where nobody ordered twice."""
        standing = ledger.before(cut)
        if standing.orders.max(initial=0) < 2:
            return False
        self.model = bgnbd.fit(standing)
        return True

    def expect(self, standing: Standing, horizon: int) -> Expected:
        """What the customers will do in any horizon."""
        weeks = horizon / bgnbd.WEEK
        return Expected(self.model.p_buys(standing, weeks), self.model.expected_orders(standing, weeks))


RUNGS: dict[str, type[Rung]] = {"logistic": Logistic, "bgnbd": BuyTillInactive}


def cutoffs(ledger: Ledger, cut: int, horizon: int) -> list[int]:
    """Days, latest first, that a whole horizon follows before `cut` and as long a history precedes."""
    step = max(horizon // 2, 1)
    found = range(cut - horizon, ledger.start + horizon - 1, -step)
    return list(found)[:WINDOWS]


def examples(ledger: Ledger, start: int, horizon: int) -> tuple[Array, Array]:
    """(C, 4) features of the customers at a day, and (C,) their orders in the horizon from it on."""
    standing = ledger.before(start)
    return features_of(standing), ledger.between(start, start + horizon, standing.customers)[0]


def features_of(standing: Standing) -> Array:
    """(C, 4) log RFM and log1p of the days since the first order."""
    return np.column_stack([standing.rfm(), np.log1p(standing.today - standing.first)])


def order_value(standing: Standing) -> Array:
    """(C,) what an order of each customer is worth: their mean, drawn towards everybody's the fewer they made."""
    mean = standing.spend / standing.orders
    overall = standing.spend.sum() / standing.orders.sum()
    return (standing.orders * mean + SHRINK * overall) / (standing.orders + SHRINK)
