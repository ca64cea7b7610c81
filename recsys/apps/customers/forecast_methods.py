"""Methods that forecast orders within a horizon, learned only from days before a cut-off.

C customers, W windows.
"""

from typing import NamedTuple, Protocol

import numpy as np
from typing_extensions import override

from recsys.apps.customers.bgnbd import WEEK, BgNbd, fit_bgnbd
from recsys.apps.customers.purchases import OrderSummary, Purchases
from recsys.extras import require_extra

Array = np.ndarray
MAX_WINDOWS = 6
"""windows that a regression learns from"""
PRIOR_ORDERS = 1.0
"""orders at the average value that are added to a customer's own: docs/lab_log.md"""


class CustomerForecast(NamedTuple):
    """For each customer (C,) the probability of an order within the horizon, and the expected number of orders."""

    p_buys: Array
    orders: Array


class ForecastMethod(Protocol):
    """A way to forecast orders: `fit`, then `predict`."""

    def fit(self, purchases: Purchases, cut: int, horizon: int) -> bool:
        """Learn from the days before `cut`; False where there are too few."""
        ...

    def predict(self, customers: OrderSummary, horizon: int) -> CustomerForecast:
        """The forecast for the `horizon` days after `customers.today`."""
        ...


class LogisticMethod(ForecastMethod):
    """Logistic regression for whether, Poisson regression for how often, on log RFM and the log of the age.

    The training examples are customers at earlier cut-offs, half a horizon apart, and their orders in the horizon after
    each; no such window reaches beyond the cut, and each has as many days of history before it. Forecasts only the
    horizon that it was fitted for.
    """

    @override
    def fit(self, purchases: Purchases, cut: int, horizon: int) -> bool:
        with require_extra("insights"):
            from sklearn.linear_model import LogisticRegression, PoissonRegressor
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        starts = list_training_cut_offs(purchases, cut, horizon)
        windows = [build_training_examples(purchases, start, horizon) for start in starts]
        if not windows:
            return False
        features, orders = (np.concatenate(arrays) for arrays in zip(*windows, strict=True))
        if len(np.unique(orders > 0)) < 2:
            return False
        self.buys = make_pipeline(StandardScaler(), LogisticRegression(C=1e3, max_iter=500))
        self.count = make_pipeline(StandardScaler(), PoissonRegressor(alpha=1e-4, max_iter=500))
        self.buys.fit(features, orders > 0)
        self.count.fit(features, orders)
        return True

    @override
    def predict(self, customers: OrderSummary, horizon: int) -> CustomerForecast:
        features = build_forecast_features(customers)
        return CustomerForecast(self.buys.predict_proba(features)[:, 1], self.count.predict(features))


class BgNbdMethod(ForecastMethod):
    """BG/NBD (`recsys.apps.customers.bgnbd`), fitted to all orders before the cut, which must include a customer with
    two. Forecasts any horizon.
    """

    model: BgNbd

    @override
    def fit(self, purchases: Purchases, cut: int, horizon: int) -> bool:
        customers = purchases.summarize_before(cut)
        if customers.orders.max(initial=0) < 2:
            return False
        self.model = fit_bgnbd(customers)
        return True

    @override
    def predict(self, customers: OrderSummary, horizon: int) -> CustomerForecast:
        weeks = horizon / WEEK
        return CustomerForecast(self.model.p_buys(customers, weeks), self.model.expected_orders(customers, weeks))


FORECAST_METHODS: dict[str, type[ForecastMethod]] = {"logistic": LogisticMethod, "bgnbd": BgNbdMethod}


def list_training_cut_offs(purchases: Purchases, cut: int, horizon: int) -> list[int]:
    """Days, latest first, with a whole horizon after them before `cut` and as long a history before them."""
    step = max(horizon // 2, 1)
    return list(range(cut - horizon, purchases.start + horizon - 1, -step))[:MAX_WINDOWS]


def build_training_examples(purchases: Purchases, start: int, horizon: int) -> tuple[Array, Array]:
    """(C, 4) features of the customers before day `start`, and (C,) their orders in the horizon from it on."""
    customers = purchases.summarize_before(start)
    orders, _ = purchases.sum_between(start, start + horizon, customers.numbers)
    return build_forecast_features(customers), orders


def build_forecast_features(customers: OrderSummary) -> Array:
    """(C, 4) log RFM and log1p of the days since the first order."""
    return np.column_stack([customers.compute_rfm(), np.log1p(customers.today - customers.first)])


def compute_order_value(customers: OrderSummary) -> Array:
    """(C,) the value of an order of each customer: their mean, shrunk towards the mean of all the fewer they made."""
    mean = customers.spend / customers.orders
    overall = customers.spend.sum() / customers.orders.sum()
    return (customers.orders * mean + PRIOR_ORDERS * overall) / (customers.orders + PRIOR_ORDERS)
