"""BG/NBD: how often customers buy and when they stop, from orders alone, by maximum likelihood.

While active, a customer orders at a rate of their own (gamma over customers: r, alpha), and after each order becomes
inactive with a probability of their own (beta: a, b). C customers; times in weeks. Fader, Hardie & Lee, "Counting Your
Customers" the Easy Way (Marketing Science 24, 2005).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from recsys.apps.customers.purchases import Standing
from recsys.errors import ConfigError

Array = np.ndarray
WEEK = 7.0
BOUNDS = (-5.0, 7.0)
"""of the logarithms of parameters: beyond them no log tells a difference, and formulas lose their digits"""


@dataclass(frozen=True)
class BgNbd:
    """A fitted model."""

    r: float
    alpha: float
    a: float
    b: float

    def p_active(self, standing: Standing) -> Array:
        """(C,) the probability that a customer still buys."""
        repeats, recency, age = history(standing)
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        log_odds = (r + repeats) * np.log((alpha + age) / (alpha + recency)) - np.log((b + repeats - 1) / a)
        return np.where(repeats > 0, 1 / (1 + np.exp(np.minimum(np.where(repeats > 0, log_odds, 0), 500))), 1.0)

    def p_buys(self, standing: Standing, weeks: float) -> Array:
        """(C,) the probability of an order within that time: still buying, and at that rate not too late."""
        repeats, _, age = history(standing)
        waits = ((self.alpha + age) / (self.alpha + age + weeks)) ** (self.r + repeats)
        return self.p_active(standing) * (1 - waits)

    def expected_orders(self, standing: Standing, weeks: float) -> Array:
        """(C,) orders within that time; equation 10 of the paper, by Euler's transformation, which keeps the
        hypergeometric function finite for customers with many orders.
        """
        repeats, _, age = history(standing)
        r, a, b = self.r, self.a, self.b
        if abs(a - 1) < 1e-6:
            a += 1e-5  # where the formula has a removable gap
        z = weeks / (self.alpha + age + weeks)
        series = hyp2f1(a + b - 1 - r, a - 1, a + b + repeats - 1, z)
        alive = (a + b + repeats - 1) / (a - 1) * (1 - (1 - z) ** (a - 1) * series)
        return alive * self.p_active(standing)


def fit(standing: Standing) -> BgNbd:
    """The parameters that make the customers' orders most likely; ConfigError where the search finds none."""
    rows, counts = np.unique(np.stack(history(standing), axis=1), axis=0, return_counts=True)
    found = minimize(_loss, np.zeros(4), (*rows.T, counts / counts.sum()), "L-BFGS-B", bounds=[BOUNDS] * 4)
    if not np.isfinite(found.fun):
        raise ConfigError(f"BG/NBD finds no parameters for {len(standing.customers):,} customers; use rung=logistic")
    return BgNbd(*map(float, np.exp(found.x)))


def history(standing: Standing) -> tuple[Array, Array, Array]:
    """(C,) orders after the first, and weeks from the first order to the last one and to today."""
    recency, age = (standing.last - standing.first) / WEEK, (standing.today - standing.first) / WEEK
    return standing.orders - 1.0, recency, age


def _loss(logs: Array, repeats: Array, recency: Array, age: Array, weight: Array) -> float:
    """Minus the mean log likelihood; equation 6 of the paper."""
    r, alpha, a, b = np.exp(logs)
    rate = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha)
    still = betaln(a, b + repeats) - (r + repeats) * np.log(alpha + age)
    again = np.maximum(repeats, 1)
    stopped = betaln(a + 1, b + again - 1) - (r + repeats) * np.log(alpha + recency)
    either = np.logaddexp(still, np.where(repeats > 0, stopped, -np.inf))
    return float(-((rate + either - betaln(a, b)) * weight).sum())
