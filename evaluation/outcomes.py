"""Predicted against actual, by group: what scores were worth once their outcomes are known.

A frame `outcomes` has one row a score whose horizon is over: `model_version`, `symbol`, `known_at`
(the end of the horizon), the probabilities `p_down`, `p_flat`, `p_up`, `expected_return`, `lower`,
`upper`, `realised_return` [log return over the horizon], `interval_level`, `outcome` (0 down, 1 flat,
2 up) and `regime`. Rows whose `outcome` is null could not be measured: they are counted and left out
of every figure. Rows of one horizon overlap, so that `n` of them are fewer observations than n.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from evaluation.calibration import row_log_loss
from evaluation.forecast import PROBABILITIES

BINS = 10
GROUPS: dict[str, pl.Expr] = {
    "model": pl.col("model_version"),
    "symbol": pl.col("symbol"),
    "regime": pl.col("regime"),
    "week": (pl.col("known_at") - timedelta(microseconds=1)).dt.truncate("1w").dt.date(),
}
"""What outcomes can be grouped by. A week is its Monday (UTC) and holds what became known in it; an
instant closes the week it ends, so that a week that is over never changes."""
FIGURES = (
    "mae",
    "mse",
    "brier",
    "log_loss",
    "accuracy",
    "hit_rate",
    "calibration_error",
    "interval_coverage",
    "interval_level",
    "mean_predicted",
    "mean_realised",
    "rank_correlation",
)
_RETURNS = ("expected_return", "lower", "upper", "realised_return")
_EVERYTHING = "_everything"


def forecast_errors(
    outcomes: pl.DataFrame, by: Sequence[str] = ("model",), *, bins: int = BINS
) -> pl.DataFrame:
    """Measure scores against what came of them, by group.

    Parameters
    ----------
    outcomes : polars.DataFrame
        See the module; any number of models and symbols, in any order.
    by : sequence of str
        Any of `GROUPS`, in the order in which the rows come back; none makes one row of all.
    bins : int
        Equally filled bins of the calibration error; equal confidences stay together.

    Returns
    -------
    polars.DataFrame
        The columns of `by`, sorted, null where a regime is not known; `n` measured rows and
        `unmeasured` ones; `mae` and `mse` of the expected return; `brier` [0..2] and `log_loss` [nats]
        of the three classes; `accuracy` of the likeliest class; `hit_rate` of the sign of the expected
        return (a zero hits a zero only); `calibration_error` of the likeliest class, the mean over
        rows of |share that came true - mean confidence| of the row's bin; `interval_coverage` beside
        the mean `interval_level` promised; `mean_predicted` and `mean_realised` return; and
        `rank_correlation` (Spearman) of the two. Null where a figure is not defined: no measured row,
        no level stated, or a return that never varies in its group. NaN never comes back.

    Raises
    ------
    ValueError
        If a group is not known, or a measured row has a NaN.

    References
    ----------
    Brier (1950); Naeini, Cooper and Hauskrecht (2015) for the calibration error.
    """
    if unknown := [name for name in by if name not in GROUPS]:
        raise ValueError(
            f"outcomes cannot be grouped by {', '.join(unknown)}; known are {', '.join(GROUPS)}"
        )
    keys = [_EVERYTHING, *by]
    named = outcomes.with_columns(
        pl.lit(0).alias(_EVERYTHING), *(GROUPS[name].alias(name) for name in by)
    )
    counts = named.group_by(keys).agg(
        n=pl.col("outcome").count().cast(pl.Int64),
        unmeasured=pl.col("outcome").null_count().cast(pl.Int64),
    )
    rows = _row_errors(named.filter(pl.col("outcome").is_not_null()))
    figures = rows.group_by(keys).agg(*_means())
    errors = _calibration_errors(rows, keys, bins)
    return (
        counts.join(figures, on=keys, how="left", nulls_equal=True)
        .join(errors, on=keys, how="left", nulls_equal=True)
        .sort(keys, nulls_last=True)
        .select(*by, "n", "unmeasured", pl.col(FIGURES).fill_nan(None))
    )


def _row_errors(measured: pl.DataFrame) -> pl.DataFrame:
    """Add to every row what its errors are."""
    proba = measured.select(PROBABILITIES).to_numpy()
    broken = ~np.isfinite(np.column_stack([proba, measured.select(_RETURNS).to_numpy()]))
    if broken.any():
        row = int(broken.any(axis=1).argmax())
        raise ValueError(
            f"{int(broken.any(axis=1).sum())} measured outcomes hold a value that is not finite (first "
            f"{measured['symbol'][row]} at {measured['known_at'][row]}); close them as not measurable"
        )
    outcome = measured["outcome"].to_numpy()
    expected, lower, upper, realised = (pl.col(name) for name in _RETURNS)
    squares = ((proba - np.eye(len(PROBABILITIES))[outcome]) ** 2).sum(axis=1)
    return measured.with_columns(
        error=expected - realised,
        brier=pl.Series(squares, dtype=pl.Float64),
        log_loss=pl.Series(row_log_loss(proba, outcome), dtype=pl.Float64),
        confidence=pl.Series(proba.max(axis=1, initial=0.0), dtype=pl.Float64),
        likeliest=pl.Series(proba.argmax(axis=1) == outcome, dtype=pl.Boolean),
        direction=expected.sign() == realised.sign(),
        inside=(lower <= realised) & (realised <= upper),
    )


def _means() -> list[pl.Expr]:
    return [
        pl.col("error").abs().mean().alias("mae"),
        (pl.col("error") ** 2).mean().alias("mse"),
        pl.col("brier", "log_loss", "interval_level").mean(),
        pl.col("likeliest").mean().alias("accuracy"),
        pl.col("direction").mean().alias("hit_rate"),
        pl.col("inside").mean().alias("interval_coverage"),
        pl.col("expected_return").mean().alias("mean_predicted"),
        pl.col("realised_return").mean().alias("mean_realised"),
        pl.corr("expected_return", "realised_return", method="spearman").alias("rank_correlation"),
    ]


def _calibration_errors(rows: pl.DataFrame, keys: list[str], bins: int) -> pl.DataFrame:
    """Return the calibration error of every group, in the bins of `reliability.calibration_curve`.

    A value is in the bin of how many inner quantiles lie below it: those whose place among n sorted
    values, (n - 1) q, comes before the first value equal to it.
    """
    ranked = rows.select(
        *keys,
        "likeliest",
        "confidence",
        _place=pl.col("confidence").rank("min").over(keys) - 1,
        _last=(pl.len().over(keys) - 1).cast(pl.Float64),
    )
    inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    below = pl.sum_horizontal(pl.col("_last") * q < pl.col("_place") for q in inner)
    gap = pl.col("likeliest").sum().cast(pl.Float64) - pl.col("confidence").sum()
    return (
        ranked.with_columns(_bin=below)
        .group_by(*keys, "_bin")
        .agg(gap.abs().alias("gap"), pl.len().alias("rows"))
        .group_by(keys)
        .agg(calibration_error=pl.col("gap").sum() / pl.col("rows").sum())
    )
