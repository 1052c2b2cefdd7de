"""Pictures of a training's evidence. No global state: figures are made by hand."""

from collections.abc import Callable

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.evidence import ForecastEvidence
from evaluation.intervals import Interval
from pipelines.tracking.evidence import Evidence

_GREY = "0.7"


def evidence_figures(evidence: Evidence) -> dict[str, Figure]:
    """Return a figure a question, by name; questions without an answer have none."""
    told = evidence.forecasts
    draw: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "calibration": (told.after is not None, lambda: calibration_plot(told)),
        "confidence": (True, lambda: confidence_plot(told.confidence)),
        "returns": (told.returns is not None, lambda: returns_plot(told)),
        "regimes": (told.regimes is not None, lambda: regimes_plot(told)),
        "degradation": (bool(evidence.degradation), lambda: degradation_plot(evidence)),
        "search": (evidence.search.overfitting is not None, lambda: search_plot(evidence)),
    }
    return {name: make() for name, (answered, make) in draw.items() if answered}


def calibration_plot(told: ForecastEvidence) -> Figure:
    """Draw how often the likeliest class came true, before and after the calibration, out of fold."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    ends = [1.0, 0.0]
    for name, curve, colour in (("before", told.before, "C1"), ("after", told.after, "C0")):
        if curve is None:
            continue
        predicted, observed = (curve.curve[side].to_numpy() for side in ("predicted", "observed"))
        error = f"{name} calibration, error {curve.error.value:.3f}"
        axes.plot(predicted, observed, marker="o", color=colour, label=error)
        ends = [min(ends[0], *predicted, *observed), max(ends[1], *predicted, *observed)]
    axes.plot(ends, ends, color=_GREY, linewidth=1, label="honest", zorder=0)
    noise = "" if told.after is None else f"; noise alone would show {told.after.noise:.3f}"
    axes.set(
        xlabel="probability of the likeliest class",
        ylabel="share that came true",
        title=f"Calibration out of fold{noise}",
    )
    axes.legend(loc="lower right")
    return figure


def confidence_plot(table: pl.DataFrame) -> Figure:
    """Draw accuracy, Brier score and what was earned from the least to the most confident tenth."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    hits, brier, earned = figure.subplots(1, 3)
    place = table["bin"].to_numpy()
    hits.plot(place, 100 * table["accuracy"].to_numpy(), marker="o", label="likeliest class")
    directional = 100 * table["directional_accuracy"].to_numpy()
    hits.plot(place, directional, marker="o", label="direction")
    hits.plot(place, 100 * table["confidence"].to_numpy(), color=_GREY, label="confidence")
    hits.set(ylabel="[%]", title="Accuracy")
    hits.legend()
    brier.plot(place, table["brier"].to_numpy(), marker="o")
    brier.set(ylabel="[0..2], smaller is better", title="Brier score")
    earned.bar(place, 100 * table["earned"].to_numpy())
    earned.axhline(0, color="0.5", linewidth=0.8)
    earned.set(ylabel="log return a row before costs [%]", title="Return in the direction foreseen")
    for axes in (hits, brier, earned):
        axes.set(xlabel="tenth by confidence, 10 the surest", xticks=place)
    return figure


def returns_plot(told: ForecastEvidence) -> Figure:
    """Draw realised against expected returns, tenths of equal size, with the fitted slope."""
    found = told.returns
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    if found is None:
        return figure
    sides = ("expected_return", "realised_return")
    expected, realised = (100 * found.curve[side].to_numpy() for side in sides)
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.axvline(0, color="0.85", linewidth=0.8)
    axes.plot(expected, expected, color=_GREY, linewidth=1, label="honest")
    axes.plot(expected, realised, marker="o", label="tenths of the rows")
    axes.set(
        xlabel="expected log return over the horizon [%]",
        ylabel="realised log return [%]",
        title=f"Expected and realised: slope {_interval(found.slope)},\n"
        f"rank correlation {_interval(found.spearman)}",
    )
    axes.legend(loc="upper left")
    return figure


def regimes_plot(told: ForecastEvidence) -> Figure:
    """Draw the skill in every state of the market with its interval."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if told.regimes is None:
        return figure
    table = told.regimes
    skill, lower, upper = (
        1e3 * table[name].to_numpy() for name in ("skill", "skill_lower", "skill_upper")
    )
    labels = [
        f"{name}\n{share:.0%} of rows" for name, share in table.select("regime", "share").rows()
    ]
    reach = np.nan_to_num(np.abs(np.vstack([skill - lower, upper - skill])))
    axes.errorbar(labels, skill, yerr=reach, fmt="o", capsize=4)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(
        ylabel="skill against class shares [nats / 1000]",
        title="By state of the market, out of fold",
    )
    axes.margins(x=0.15)
    return figure


def degradation_plot(evidence: Evidence) -> Figure:
    """Draw every metric in and out of sample, means over the windows."""
    found = evidence.degradation
    figure = Figure(figsize=(2.2 * len(found), 3.2), layout="constrained")
    row = np.atleast_1d(figure.subplots(1, len(found)))
    for axes, one in zip(row, found, strict=True):
        _pair(axes, one.in_sample, one.out_of_sample)
        axes.set_title(one.metric.replace("_", "\n"), fontsize=10)
    figure.suptitle("In sample against out of sample, mean of the windows", fontsize=11)
    return figure


def search_plot(evidence: Evidence) -> Figure:
    """Draw what was best on half of the search's days against what it did on the other half."""
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes, found = figure.subplots(), evidence.search.overfitting
    if found is None:
        return figure
    axes.scatter(found.in_sample, found.out_of_sample, s=4, alpha=0.3)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(
        xlabel="Sharpe ratio of a day, the half in which it was the best trial",
        ylabel="its Sharpe ratio of a day in the other half",
        title=f"Choosing among {found.trials} trials: probability of overfitting "
        f"{found.probability:.2f}",
    )
    return figure


def _pair(axes: Axes, inside: float, outside: float) -> None:
    axes.bar(["in", "out"], np.nan_to_num([inside, outside]), color=[_GREY, "C0"])
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.tick_params(labelsize=8)


def _interval(found: Interval) -> str:
    return f"{found.value:.2f} ({found.lower:.2f} to {found.upper:.2f})"
