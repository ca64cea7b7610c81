"""BG/NBD: how often customers buy and when they stop, from orders alone, by maximum likelihood.

While active, a customer orders at a rate of their own (gamma over customers: r, alpha), and becomes inactive after
each order with a probability of their own (beta over customers: a, b). C customers; times in weeks. Fader, Hardie &
Lee, "Counting Your Customers" the Easy Way (Marketing Science 24, 2005).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from recsys.apps.customers.purchases import OrderSummary
from recsys.errors import ConfigError

Array = np.ndarray
WEEK = 7.0
BOUNDS = (-5.0, 7.0)
"""of the logarithms of the parameters: beyond them the likelihood is flat and the formulas lose precision"""


@dataclass(frozen=True)
class BgNbd:
    """The BG/NBD model with fitted parameters."""

    r: float
    alpha: float
    a: float
    b: float

    def p_active(self, customers: OrderSummary) -> Array:
        """(C,) the probability that a customer is still active."""
        repeats, recency, age = summarize_repeats(customers)
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        log_odds = (r + repeats) * np.log((alpha + age) / (alpha + recency)) - np.log((b + repeats - 1) / a)
        return np.where(repeats > 0, 1 / (1 + np.exp(np.minimum(np.where(repeats > 0, log_odds, 0), 500))), 1.0)

    def p_buys(self, customers: OrderSummary, weeks: float) -> Array:
        """(C,) the probability of an order within `weeks`: active, and the next order falls within them."""
        repeats, _, age = summarize_repeats(customers)
        p_waits = ((self.alpha + age) / (self.alpha + age + weeks)) ** (self.r + repeats)
        return self.p_active(customers) * (1 - p_waits)

    def expected_orders(self, customers: OrderSummary, weeks: float) -> Array:
        """(C,) the expected number of orders within `weeks`; equation 10 of the paper with Euler's transformation,
        which keeps the hypergeometric function finite for customers with many orders.
        """
        repeats, _, age = summarize_repeats(customers)
        r, a, b = self.r, self.a, self.b
        if abs(a - 1) < 1e-6:
            a += 1e-5  # the formula has a removable singularity at a = 1
        z = weeks / (self.alpha + age + weeks)
        series = hyp2f1(a + b - 1 - r, a - 1, a + b + repeats - 1, z)
        orders_if_active = (a + b + repeats - 1) / (a - 1) * (1 - (1 - z) ** (a - 1) * series)
        return orders_if_active * self.p_active(customers)


def fit_bgnbd(customers: OrderSummary) -> BgNbd:
    """The model with the highest likelihood for the customers' orders; raises ConfigError where none is found."""
    rows, counts = np.unique(np.stack(summarize_repeats(customers), axis=1), axis=0, return_counts=True)
    weights = counts / counts.sum()
    result = minimize(_compute_loss, np.zeros(4), (*rows.T, weights), "L-BFGS-B", bounds=[BOUNDS] * 4)
    if not np.isfinite(result.fun):
        raise ConfigError(f"BG/NBD could not be fitted to {len(customers.numbers):,} customers; use rung=logistic")
    return BgNbd(*map(float, np.exp(result.x)))


def summarize_repeats(customers: OrderSummary) -> tuple[Array, Array, Array]:
    """(C,) each: orders after the first, and weeks from the first order to the last one and to today."""
    recency, age = (customers.last - customers.first) / WEEK, (customers.today - customers.first) / WEEK
    return customers.orders - 1.0, recency, age


def _compute_loss(logs: Array, repeats: Array, recency: Array, age: Array, weights: Array) -> float:
    """The negative mean log likelihood at the logarithms of the parameters; equation 6 of the paper."""
    r, alpha, a, b = np.exp(logs)
    rate = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha)
    still_active = betaln(a, b + repeats) - (r + repeats) * np.log(alpha + age)
    at_least_1 = np.maximum(repeats, 1)
    inactive = betaln(a + 1, b + at_least_1 - 1) - (r + repeats) * np.log(alpha + recency)
    total = np.logaddexp(still_active, np.where(repeats > 0, inactive, -np.inf))
    return float(-((rate + total - betaln(a, b)) * weights).sum())
