"""Do scores mean what they say? By confidence, as a calibration curve, against returns, by regime.

A frame `scored` has the columns that `evaluation.forecast.forecast_metrics` reads: the score columns,
`known_at`, `outcome` (0 down, 1 flat, 2 up) and `realised_return` [log return over the horizon]; rows
whose outcome is null are left out. All scores must be *out of fold*: a model believes what it was
fitted on. Intervals resample instants, not rows (`evaluation.intervals`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import brier_score, log_loss, row_log_loss
from evaluation.forecast import PROBABILITIES, forecast_metrics
from evaluation.intervals import Interval, bootstrap_interval, per_instant, skill_interval

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]

BINS = 10
EVENTS = ("likeliest", "down", "flat", "up")
"""What a probability can be of: the class that was thought likeliest came true, or one of the three did."""


def by_confidence(scored: pl.DataFrame, *, bins: int = BINS) -> pl.DataFrame:
    """Return what scores were worth from the least to the most confident tenth.

    Confidence is the probability of the likeliest class; where it pays, `accuracy` grows down the
    table.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    bins : int
        Equally filled bins; fewer come back where rows are fewer.

    Returns
    -------
    polars.DataFrame
        `bin` (1 the least confident), `rows`, `confidence` (mean), `accuracy` of the likeliest class,
        `directional_accuracy` (sign of the expected against the realised return), `brier` [0..2],
        `log_loss` [nats], `expected_return`, `realised_return`, `expected_size` (means; the last of
        the expectation's absolute value), `earned` (mean of the realised return times the sign of
        the expected one) [log return over the horizon].

    Raises
    ------
    ValueError
        If no outcome is known.
    """
    known, proba, outcome = _known(scored)
    confidence = proba.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    expected, realised = _returns(known)
    rows = []
    for number, part in enumerate(p for p in np.array_split(order, bins) if p.size):
        sign = np.sign(expected[part])
        rows.append(
            {
                "bin": number + 1,
                "rows": part.size,
                "confidence": float(confidence[part].mean()),
                "accuracy": float(np.mean(proba[part].argmax(axis=1) == outcome[part])),
                "directional_accuracy": float(np.mean(sign == np.sign(realised[part]))),
                "brier": brier_score(proba[part], outcome[part]),
                "log_loss": log_loss(proba[part], outcome[part]),
                "expected_return": float(expected[part].mean()),
                "realised_return": float(realised[part].mean()),
                "expected_size": float(np.abs(expected[part]).mean()),
                "earned": float(np.mean(sign * realised[part])),
            }
        )
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class CalibrationCurve:
    """How often what was given a probability came true.

    Attributes
    ----------
    event : str
        One of `EVENTS`.
    curve : polars.DataFrame
        `predicted` (mean), `observed` (share that came true), `rows` of each bin.
    error : Interval
        Expected calibration error: mean over rows of |observed - predicted| of the row's bin, in
        [0, 1]. Noise alone makes it positive, and more so when resampled: the interval is the
        mirrored one, cut at zero.
    """

    event: str
    curve: pl.DataFrame = field(repr=False)
    error: Interval

    def as_json(self) -> dict[str, Any]:
        """Return the curve and the error as plain JSON types."""
        return {
            "event": self.event,
            "curve": self.curve.to_dicts(),
            "error": self.error.as_json(),
        }


def calibration_curve(
    scored: pl.DataFrame, event: str = "likeliest", *, bins: int = BINS, **how: Any
) -> CalibrationCurve:
    """Return the calibration curve of one event, with its expected calibration error.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    event : str
        One of `EVENTS`.
    bins : int
        Equally filled bins; ties stay together, so there may be fewer.
    **how
        `level`, `paths`, `seed`, `block_bars`, `shortest_block` of
        `evaluation.intervals.bootstrap_interval`.

    Raises
    ------
    ValueError
        If no outcome is known or the event is not known.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
    binning; Guo et al. (2017), On calibration of modern neural networks (the likeliest class).
    """
    known, proba, outcome = _known(scored)
    predicted, hit = _event(proba, outcome, event)
    place = _bin_of(predicted, bins)
    count = int(place.max()) + 1
    one_hot = np.eye(count)[place]
    columns = [*(one_hot * predicted[:, None]).T, *(one_hot * hit[:, None]).T, *one_hot.T]
    sums = per_instant(_instants(known), *columns)[:, :-1]

    def error_of(means: Floats) -> Floats:
        said, came, rows = np.split(means, 3, axis=-1)
        error: Floats = np.abs(came - said).sum(axis=-1) / rows.sum(axis=-1)
        return error

    said, came, rows = np.split(sums.sum(axis=0), 3)
    driver = sums[:, count : 2 * count].sum(axis=1) - sums[:, :count].sum(axis=1)
    mirrored = bootstrap_interval(sums, error_of, driver=driver, kind="basic", **how)
    error = Interval(
        **{
            **mirrored.as_json(),
            "lower": max(mirrored.lower, 0.0),
            "upper": max(mirrored.upper, 0.0),
        }
    )
    curve = pl.DataFrame(
        {"predicted": said / rows, "observed": came / rows, "rows": rows.astype(np.int64)}
    )
    return CalibrationCurve(event, curve, error)


@dataclass(frozen=True)
class ReturnReliability:
    """Expected against realised returns.

    Attributes
    ----------
    curve : polars.DataFrame
        `expected_return`, `realised_return` (means) and `rows` of equally filled bins of the
        expectation.
    slope : Interval
        Least squares of realised on expected: 1 for expectations of the right size, below 1 for
        those that promise too much, 0 for noise.
    intercept : float
        [log return over the horizon]
    pearson, spearman : Interval
        Correlation of the values, and of their ranks.
    """

    curve: pl.DataFrame = field(repr=False)
    slope: Interval
    intercept: float
    pearson: Interval
    spearman: Interval

    def as_json(self) -> dict[str, Any]:
        """Return curve and numbers as plain JSON types."""
        return {**asdict(self), "curve": self.curve.to_dicts()}


def return_reliability(scored: pl.DataFrame, *, bins: int = BINS, **how: Any) -> ReturnReliability:
    """Return how expected returns relate to realised ones.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    bins : int
    **how
        As in `calibration_curve`.

    Raises
    ------
    ValueError
        If no outcome is known, or expected or realised returns are all equal.

    References
    ----------
    Mincer and Zarnowitz (1969), The evaluation of economic forecasts.
    """
    from scipy.stats import rankdata

    known, _, _ = _known(scored)
    expected, realised = _returns(known)
    if not (np.ptp(expected) > 0 and np.ptp(realised) > 0):
        raise ValueError(
            f"{expected.size} expected returns in [{expected.min():g}, {expected.max():g}] and realised "
            f"ones in [{realised.min():g}, {realised.max():g}]: what never varies has no correlation"
        )
    instants = _instants(known)
    pearson, slope = _correlation(instants, expected, realised, how)
    spearman, _ = _correlation(instants, rankdata(expected), rankdata(realised), how)
    place = _bin_of(expected, bins)
    rows = np.bincount(place)
    curve = pl.DataFrame(
        {
            "expected_return": np.bincount(place, expected) / rows,
            "realised_return": np.bincount(place, realised) / rows,
            "rows": rows,
        }
    )
    intercept = float(realised.mean() - slope.value * expected.mean())
    return ReturnReliability(curve, slope, intercept, pearson, spearman)


def by_regime(
    scored: pl.DataFrame,
    regime: npt.NDArray[np.integer[Any]],
    base_rates: Sequence[float],
    *,
    names: Sequence[str] | None = None,
    **how: Any,
) -> pl.DataFrame:
    """Return `forecast_metrics` of every regime, with an interval of the skill.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    regime : array of int, shape (rows of `scored`,)
        State known at each row; negative where it is not known (such rows are left out).
    base_rates : sequence of three floats
        Shares of the classes where the model was trained.
    names : sequence of str, optional
        Of the regimes 0, 1, ...; by default their numbers.
    **how
        As in `calibration_curve`.

    Returns
    -------
    polars.DataFrame
        `regime`, `share` of the rows, the metrics of `evaluation.forecast.forecast_metrics`, and
        `skill` = base-rate log loss less log loss [nats] with `skill_lower`, `skill_upper` (NaN for
        fewer than eight instants). Regimes without a known outcome are absent.

    Raises
    ------
    ValueError
        If there is not one regime a row, a regime has no name, or no outcome is known.
    """
    if regime.shape != (scored.height,):
        raise ValueError(
            f"{regime.shape} regimes for {scored.height} scored rows; one a row is needed"
        )
    highest = int(regime.max(initial=-1))
    if names is not None and highest >= len(names):
        raise ValueError(f"regime {highest} has no name; {len(names)} names were given")
    tagged = scored.with_columns(_regime=pl.Series(regime))
    known = tagged.filter(pl.col("outcome").is_not_null() & (pl.col("_regime") >= 0))
    rows = []
    for state in known["_regime"].unique().sort().to_list():
        part = known.filter(pl.col("_regime") == state)
        metrics = forecast_metrics(part, base_rates)
        lower, upper = _skill_bounds(part, base_rates, how)
        skill = metrics["base_rate_log_loss"] - metrics["log_loss"]
        rows.append(
            {
                "regime": str(state) if names is None else names[state],
                "share": part.height / known.height,
                **metrics,
                "skill": skill,
                "skill_lower": lower,
                "skill_upper": upper,
            }
        )
    if not rows:
        raise ValueError("no outcome of rows with a known regime is known; nothing can be measured")
    return pl.DataFrame(rows)


def _skill_bounds(
    part: pl.DataFrame, base_rates: Sequence[float], how: dict[str, Any]
) -> tuple[float, float]:
    if part["known_at"].n_unique() < 8:
        return float("nan"), float("nan")
    _, proba, outcome = _known(part)
    base = np.broadcast_to(np.asarray(base_rates, dtype=np.float64), proba.shape)
    found = skill_interval(
        _instants(part), row_log_loss(proba, outcome), row_log_loss(base, outcome), **how
    )
    return found.lower, found.upper


def _correlation(
    instants: Instants, x: Floats, y: Floats, how: dict[str, Any]
) -> tuple[Interval, Interval]:
    """Return the intervals of the correlation and of the least-squares slope of y on x."""
    dx, dy = x - x.mean(), y - y.mean()
    sums = per_instant(instants, dx, dy, dx * dy, dx**2, dy**2)

    def moments(means: Floats) -> tuple[Floats, Floats, Floats]:
        a, b, ab, aa, bb, rows = (means[..., k] for k in range(6))
        return ab / rows - a * b / rows**2, aa / rows - (a / rows) ** 2, bb / rows - (b / rows) ** 2

    def correlation(means: Floats) -> Floats:
        both, first, second = moments(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            value: Floats = both / np.sqrt(first * second)
        return value

    def slope(means: Floats) -> Floats:
        both, first, _ = moments(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            value: Floats = both / first
        return value

    driver = sums[:, 2]
    return (
        bootstrap_interval(sums, correlation, driver=driver, **how),
        bootstrap_interval(sums, slope, driver=driver, **how),
    )


def _known(scored: pl.DataFrame) -> tuple[pl.DataFrame, Floats, npt.NDArray[np.int64]]:
    known = scored.filter(pl.col("outcome").is_not_null())
    if known.is_empty():
        raise ValueError("no outcome of the scored rows is known; nothing can be measured")
    return known, known.select(PROBABILITIES).to_numpy(), known["outcome"].to_numpy()


def _returns(known: pl.DataFrame) -> tuple[Floats, Floats]:
    return known["expected_return"].to_numpy(), known["realised_return"].to_numpy()


def _instants(known: pl.DataFrame) -> Instants:
    return known["known_at"].dt.timestamp("us").to_numpy()


def _event(
    proba: Floats, outcome: npt.NDArray[np.int64], event: str
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if event not in EVENTS:
        raise ValueError(f"event {event!r} is not known; known are {', '.join(EVENTS)}")
    if event == "likeliest":
        return proba.max(axis=1), proba.argmax(axis=1) == outcome
    label = EVENTS.index(event) - 1
    return proba[:, label], outcome == label


def _bin_of(values: Floats, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin of each value, from 0: equally filled, equal values together, none empty."""
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    _, place = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)
    return place.astype(np.int64)
