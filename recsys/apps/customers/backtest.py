"""Which way to forecast is better: both forecast from days in the past, and what happened since tells.

C customers, F folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.apps.customers.forecast_methods import RUNGS, Expected
from recsys.apps.customers.purchases import Ledger
from recsys.errors import ConfigError
from recsys.extras import require_extra

Array = np.ndarray
BINS = 10


@dataclass(frozen=True)
class Fold:
    """What was expected of each customer (C,) at a cut, and what came."""

    cut: int
    expected: Expected
    orders: Array

    @cached_property
    def figures(self) -> dict[str, float]:
        """By name: auc (NaN where all or nobody bought), ece, log_loss of the probability of an order; mae and total of
        the number of orders, the latter expected ÷ real.
        """
        with require_extra("insights"):
            from sklearn.metrics import log_loss, roc_auc_score
        bought, p = self.orders > 0, self.expected.p_buys
        both = 0 < bought.sum() < len(bought)
        return {
            "auc": float(roc_auc_score(bought, p)) if both else float("nan"),
            "ece": calibration_error(p, bought),
            "log_loss": float(log_loss(bought, np.clip(p, 1e-9, 1 - 1e-9), labels=[False, True])),
            "mae": float(np.abs(self.expected.orders - self.orders).mean()),
            "total": float(self.expected.orders.sum() / max(self.orders.sum(), 1)),
        }


def calibration(p: Array, happened: Array) -> tuple[Array, Array, Array]:
    """(B,) of tenths of the customers by probability: their number, mean probability and share for whom it happened."""
    bins = [part for part in np.array_split(np.argsort(p, kind="stable"), BINS) if len(part)]
    sizes, means, shares = zip(*((len(b), p[b].mean(), happened[b].mean()) for b in bins), strict=True)
    return np.array(sizes), np.array(means), np.array(shares)


def calibration_error(p: Array, happened: Array) -> float:
    """The mean distance over those tenths between probability and share."""
    sizes, means, shares = calibration(p, happened)
    return float((sizes * np.abs(means - shares)).sum() / sizes.sum())


def backtest(ledger: Ledger, horizon: int, folds: int) -> dict[str, list[Fold]]:
    """By rung, the folds for which all rungs had enough to learn from, latest first: cuts one horizon apart, the last
    a horizon before the end. A rung that never had is left out; ConfigError where that is all of them.
    """
    found: dict[str, list[Fold]] = {}
    for cut in range(ledger.end - horizon, max(ledger.end - folds * horizon, ledger.start + horizon) - 1, -horizon):
        standing = ledger.before(cut)
        orders, _ = ledger.between(cut, cut + horizon, standing.customers)
        for name, rung in ((name, kind()) for name, kind in RUNGS.items()):
            if rung.fit(ledger, cut, horizon):
                found.setdefault(name, []).append(Fold(cut, rung.expect(standing, horizon), orders))
    if not found:
        length = ledger.end - ledger.start
        raise ConfigError(f"horizon={horizon}d needs a log of at least {2 * horizon} days, it has {length}; lower it")
    fewest = min(len(each) for each in found.values())
    return {name: each[:fewest] for name, each in found.items()}


def better(found: Mapping[str, Sequence[Fold]], figure: str) -> str:
    """The rung with the lowest figure, averaged over the folds."""
    return min(found, key=lambda name: np.mean([fold.figures[figure] for fold in found[name]]))
