"""The plots that a training run shows in MLflow. No global state: figures are made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from training.importance import Importance


def equity_plot(curves: Mapping[str, pl.DataFrame], boundaries: Sequence[Any]) -> Figure:
    """Draw net equity and its drawdown, one line a strategy.

    Parameters
    ----------
    curves : mapping of name to frame
        `known_at` and `equity` [quote], after costs, on the out-of-fold windows.
    boundaries : sequence of datetime
        Where a new window, and so a new fit, begins.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, curve in curves.items():
        instants, equity = curve["known_at"].to_numpy(), curve["equity"].to_numpy()
        above.plot(instants, equity, label=name, linewidth=1.2)
        peak = np.maximum.accumulate(equity)
        below.plot(instants, 100 * (equity / peak - 1), linewidth=0.9)
    for instant in boundaries:
        above.axvline(np.datetime64(instant.replace(tzinfo=None)), color="0.8", linewidth=0.8)
    above.set(
        ylabel="equity, net of costs [quote]", title="Out-of-fold windows, traded by the engine"
    )
    below.set(ylabel="drawdown [%]")
    below.tick_params(axis="x", labelrotation=30)
    above.legend(loc="upper left")
    return figure


def importance_plot(names: Sequence[str], importance: Importance, *, most: int = 25) -> Figure:
    """Draw the features with the largest share of the fit's gain, and what else was measured of them.

    Permutation stands beside gain and Shapley values, each with its own scale; a bar that is not there
    was not measured. What the whole cluster of a feature loses is drawn as a line behind its bar.
    """
    order = np.argsort(-importance.gain, kind="stable")[:most][::-1]
    figure = Figure(figsize=(14, 0.28 * len(order) + 1.2), layout="constrained")
    gain, permutation, shap = figure.subplots(1, 3, sharey=True)
    labels = [names[i] for i in order]
    gain.barh(labels, 100 * importance.gain[order])
    gain.set(xlabel="share of total gain of the final fit [%]", title="Gain")
    together = 1e3 * importance.cluster_permutation[order]
    permutation.barh(labels, together, height=0.2, color="0.7", label="with its cluster")
    permutation.barh(labels, 1e3 * importance.permutation[order], height=0.6, label="alone")
    permutation.axvline(0, color="0.5", linewidth=0.8)
    permutation.set(xlabel="rise of log loss out of fold [nats / 1000]", title="Permuted")
    permutation.legend(loc="lower right")
    shap.barh(labels, importance.shap[order])
    shap.set(xlabel="mean |Shapley value| out of fold [log odds]", title="SHAP")
    return figure


def window_table(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a table, one line a test window; numbers are rounded to four digits."""
    columns = list(rows[0])
    cells = [[_short(row[name]) for name in columns] for row in rows]
    figure = Figure(figsize=(1.35 * len(columns), 0.4 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    table = axes.table(cells, colLabels=[name.replace("_", "\n") for name in columns], loc="center")
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1, 1.4)
    for column in range(len(columns)):
        table[0, column].set_height(2 * table[0, column].get_height())
    return figure


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
