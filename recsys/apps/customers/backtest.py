"""Compare the forecast methods: each forecasts from days in the past, and is scored on the orders that followed.

C customers, B bins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.apps.customers.forecast_methods import FORECAST_METHODS, CustomerForecast
from recsys.apps.customers.purchases import Purchases
from recsys.errors import ConfigError
from recsys.extras import require_extra

Array = np.ndarray
BINS = 10


@dataclass(frozen=True)
class Fold:
    """The forecast of each customer (C,) on day `cut`, and the orders (C,) that followed."""

    cut: int
    forecast: CustomerForecast
    orders: Array

    @cached_property
    def figures(self) -> dict[str, float]:
        """Scores by name: auc (NaN where all or no customers bought), ece and log_loss of the probability of an order;
        mae and total of the number of orders, where total is forecast ÷ real.
        """
        with require_extra("insights"):
            from sklearn.metrics import log_loss, roc_auc_score
        bought, p_buys = self.orders > 0, self.forecast.p_buys
        both_classes = 0 < bought.sum() < len(bought)
        return {
            "auc": float(roc_auc_score(bought, p_buys)) if both_classes else float("nan"),
            "ece": compute_calibration_error(p_buys, bought),
            "log_loss": float(log_loss(bought, np.clip(p_buys, 1e-9, 1 - 1e-9), labels=[False, True])),
            "mae": float(np.abs(self.forecast.orders - self.orders).mean()),
            "total": float(self.forecast.orders.sum() / max(self.orders.sum(), 1)),
        }


def compute_calibration(probabilities: Array, outcomes: Array) -> tuple[Array, Array, Array]:
    """(B,) number of customers, mean probability and share of true outcomes in each tenth of the customers, lowest
    probabilities first.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = [members for members in np.array_split(order, BINS) if len(members)]
    sizes = np.array([len(members) for members in bins])
    means = np.array([probabilities[members].mean() for members in bins])
    shares = np.array([outcomes[members].mean() for members in bins])
    return sizes, means, shares


def compute_calibration_error(probabilities: Array, outcomes: Array) -> float:
    """ECE: the mean difference between probability and share of true outcomes over tenths of the customers."""
    sizes, means, shares = compute_calibration(probabilities, outcomes)
    return float((sizes * np.abs(means - shares)).sum() / sizes.sum())


def run_backtest(purchases: Purchases, horizon: int, folds: int) -> dict[str, list[Fold]]:
    """The folds of each method, latest first, on the cut-offs where all methods had enough to learn from. Cut-offs are
    one `horizon` of days apart, the last of them a horizon before the end of the log. A method that never had enough
    is left out; raises ConfigError where that is all of them.
    """
    results: dict[str, list[Fold]] = {}
    earliest = max(purchases.end - folds * horizon, purchases.start + horizon)
    for cut in range(purchases.end - horizon, earliest - 1, -horizon):
        customers = purchases.summarize_before(cut)
        orders, _ = purchases.sum_between(cut, cut + horizon, customers.numbers)
        for name, method_class in FORECAST_METHODS.items():
            method = method_class()
            if method.fit(purchases, cut, horizon):
                results.setdefault(name, []).append(Fold(cut, method.predict(customers, horizon), orders))
    if not results:
        length = purchases.end - purchases.start
        raise ConfigError(
            f"horizon={horizon}d needs a log of at least {2 * horizon} days, this one has {length}; lower horizon"
        )
    n_common = min(map(len, results.values()))
    return {name: method_folds[:n_common] for name, method_folds in results.items()}


def choose_better_method(results: Mapping[str, Sequence[Fold]], figure: str) -> str:
    """The name of the method with the lowest `figure`, averaged over its folds."""
    return min(results, key=lambda name: np.mean([fold.figures[figure] for fold in results[name]]))
