"""Whether feature columns are alive: null only where they may be, and never standing still."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from features.as_of_join import SOURCE_COLUMNS
from features.registry import Feature
from pipelines.tables import KEY


def undefined_shares(
    features: Sequence[Feature], trailing: pl.DataFrame, bars: pl.DataFrame, step: timedelta
) -> dict[str, float]:
    """Return, a feature, the share of its rows with a complete window that are null all the same.

    A window is complete where all `lookback` bars of the symbol are there, with the nullable columns
    the feature needs; for a panel feature also those of another symbol, and those of the coins it is
    measured against. Features without such a row are left out.

    Parameters
    ----------
    trailing : polars.DataFrame
        Rows of `features`.
    bars : polars.DataFrame
        Bars of one venue sorted by key: those of the rows and the longest lookback before.
    step : timedelta
        Length of one bar.
    """
    runs = _runs(features, trailing, bars, step)
    kinds = [_run(feature) for feature in features]
    place = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
    held = runs.select(list(place)).to_numpy()[:, [place[kind] for kind in kinds]]
    complete = held >= np.array([feature.lookback for feature in features])
    # The lake holds no NaN: in a matrix of floats that is what was null.
    null = np.isnan(trailing.select(feature.name for feature in features).to_numpy())
    counts, nulls = complete.sum(axis=0), (complete & null).sum(axis=0)
    return {
        feature.name: float(nulls[i] / counts[i]) for i, feature in enumerate(features) if counts[i]
    }


def constant_columns(
    features: Sequence[Feature], trailing: pl.DataFrame, *, values: int
) -> dict[str, float]:
    """Return the columns that hold one value in all of `trailing`, with that value.

    Left out are the calendar and what sources feed, whose columns may stand still by right (funding
    rests at its usual rate for weeks), columns with fewer than `values` values, and those resting on a
    bound of their range.
    """
    held = [
        feature
        for feature in features
        if feature.family != "calendar" and not SOURCE_COLUMNS.keys() & set(feature.needs)
    ]
    columns = trailing.select(feature.name for feature in held)
    low, high = columns.min().row(0), columns.max().row(0)
    count = columns.count().row(0)
    return {
        feature.name: low[i]
        for i, feature in enumerate(held)
        if count[i] >= values and low[i] == high[i] and low[i] not in feature.bounds
    }


def _runs(
    features: Sequence[Feature], trailing: pl.DataFrame, bars: pl.DataFrame, step: timedelta
) -> pl.DataFrame:
    """Return, a row of `trailing`, how many bars stand in a row up to it, of every kind asked for."""
    follows = _follows(bars, step)
    lengths = [
        pl.Series(_kind("symbol", needs), _run_lengths(bars, needs, follows))
        for needs in sorted({feature.needs for feature in features})
    ]
    runs = (
        trailing.select(KEY)
        .join(bars.select(KEY).hstack(lengths), on=list(KEY), how="left", maintain_order="left")
        .with_columns(pl.selectors.integer().fill_null(0))
    )
    panel = {(f.needs, f.markets) for f in features if f.scope == "panel"}
    return runs.with_columns(_panel_run(*kind) for kind in sorted(panel))


def _follows(bars: pl.DataFrame, step: timedelta) -> npt.NDArray[np.bool_]:
    """Say of every bar whether the row before it is the symbol's bar one step earlier."""
    follows = (pl.col("symbol") == pl.col("symbol").shift(1)) & (
        pl.col("known_at") - pl.col("known_at").shift(1) == step
    )
    return bars.select(follows.fill_null(value=False)).to_series().to_numpy()


def _run_lengths(
    bars: pl.DataFrame, needs: Sequence[str], follows: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return how many bars that have all of `needs` stand in a row up to each; 0 where one lacks any."""
    row = np.arange(bars.height)
    held = np.ones(bars.height, bool)
    for name in needs:
        held &= bars[name].is_not_null().to_numpy()
    goes_on = follows & held & np.concatenate([[False], held[:-1]])
    first = np.maximum.accumulate(np.where(goes_on, 0, row))
    return np.where(held, row - first + 1, 0)


def _panel_run(needs: tuple[str, ...], markets: tuple[str, ...]) -> pl.Expr:
    """Return the shortest of the symbol's run, the second longest at the instant, and the coins'."""
    own = pl.col(_kind("symbol", needs))
    runs = [own.sort(descending=True).get(1, null_on_oob=True).fill_null(0)]
    for coin in markets:
        of_coin = pl.when(pl.col("symbol").str.starts_with(f"{coin}/")).then(own)
        runs.append(of_coin.max().fill_null(0))
    shortest = pl.min_horizontal(own, *(run.over("known_at") for run in runs))
    return shortest.alias(_kind("panel", needs, markets))


def _run(feature: Feature) -> str:
    markets = feature.markets if feature.scope == "panel" else ()
    return _kind(feature.scope, feature.needs, markets)


def _kind(scope: str, needs: tuple[str, ...], markets: tuple[str, ...] = ()) -> str:
    return " ".join(["run of", scope, *needs, "against", *markets])
