"""The chart of `recsys forecast`: forecast probabilities against the share of customers who ordered."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from recsys.apps.customers.backtest import Fold, compute_calibration
from recsys.extras import require_extra
from recsys.run import atomic


def draw_calibration_chart(path: Path, results: Mapping[str, Sequence[Fold]]) -> None:
    """Write a PNG with a calibration curve for each method: tenths of the customers by probability, at its latest
    cut-off.
    """
    with require_extra("insights"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, folds in results.items():
        _, means, shares = compute_calibration(folds[0].forecast.p_buys, folds[0].orders > 0)
        axes.plot(means, shares, marker="o", markersize=4, label=name)
    axes.set(
        xlabel="forecast probability of an order", ylabel="share of customers who ordered", xlim=(0, 1), ylim=(0, 1)
    )
    axes.legend()
    with atomic(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png")
