"""Features and labels of many symbols as the arrays that splits, weights and models work on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from serving.observations import Observations
from training.config import LabelConfig
from training.labels import label_bars
from training.samples import HorizonLabels, Samples
from training.splits import NO_END
from training.weights import sample_weights, uniqueness

KEY = ("venue", "symbol", "known_at")
SCALE_FEATURE = "realised_vol_72"
"""Feature that scales returns: models learn them in units of volatility over the horizon."""

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Panel:
    """Rows of features with their labels, in the order of the table's key.

    Parameters
    ----------
    keys : polars.DataFrame
        venue, symbol, known_at of every row.
    X : array of float32, shape (n, k)
        Features; NaN where null.
    feature_names : tuple of str
        Columns of X.
    symbols : tuple of str
        Names that `symbol` counts.
    symbol : array of int64, shape (n,)
        Place of each row's symbol in `symbols`.
    known_at, label_end : array of int64, shape (n,)
        Microseconds since the epoch; `NO_END` where there is no label. With `extra_horizons`, the end
        of the row's longest label that is known, so that splits purge all that is learned from it.
    outcome : array of int64, shape (n,)
        Class number 0 (down), 1 (flat), 2 (up); -1 where there is no label.
    realised : array of float64, shape (n,)
        Log return of the label; NaN where there is none.
    scale : array of float64, shape (n,)
        `SCALE_FEATURE * sqrt(horizon_bars)`; NaN where not known.
    label : LabelConfig
    timeframe : timedelta
    others : mapping
        Each of `label.extra_horizons` -> classes and log returns in units of volatility over it.
    """

    keys: pl.DataFrame
    X: npt.NDArray[np.float32]
    feature_names: tuple[str, ...]
    symbols: tuple[str, ...]
    symbol: Rows
    known_at: Rows
    label_end: Rows
    outcome: npt.NDArray[np.int64]
    realised: Floats
    scale: Floats
    label: LabelConfig
    timeframe: timedelta
    others: Mapping[int, HorizonLabels] = field(default_factory=dict)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """True for rows with a label and a scale: those that can be learned from."""
        known: npt.NDArray[np.bool_] = (self.label_end != NO_END) & (self.scale > 0)
        return known

    def training_rows(self, start: datetime, end: datetime) -> Rows:
        """Return labelled rows known after `start` whose longest horizon was over by `end`.

        A label that hit a barrier early is known early, but at the edge only such labels would be:
        taking them alone would over-represent large moves.
        """
        horizon = self.label.longest_horizon_bars * self.timeframe
        begin, stop = microseconds(start), microseconds(end - horizon)
        return np.flatnonzero(self.labelled & (self.known_at > begin) & (self.known_at <= stop))

    def rows_between(self, start: datetime, end: datetime) -> Rows:
        """Return the rows with `start < known_at <= end`, labelled or not."""
        begin, stop = microseconds(start), microseconds(end)
        return np.flatnonzero((self.known_at > begin) & (self.known_at <= stop))

    def outcomes(self, rows: Rows) -> pl.DataFrame:
        """Return key, `outcome` (0 down, 1 flat, 2 up) and `realised_return` of rows; null if unknown."""
        known = pl.Series(self.labelled[rows])
        return self.keys[rows].with_columns(
            outcome=pl.Series(self.outcome[rows]).set(~known, None),
            realised_return=pl.Series(self.realised[rows]).set(~known, None),
        )

    def observations(self, rows: Rows) -> Observations:
        """Return the panel's features with `rows` asked for."""
        bar = self.known_at // (self.timeframe // _MICROSECOND)
        return Observations(self.X, self.symbols, self.symbol, bar, rows)

    def samples(self, rows: Rows, *, every: int, embargo_bars: int) -> Samples:
        """Return training rows, weighed by uniqueness and then thinned to one bar in `every`."""
        kept = self.thinned(rows, every)
        weight, taken = self.weights(rows)[kept], rows[kept]
        return Samples(
            observations=self.observations(taken),
            y=self.outcome[taken],
            realised=self.realised[taken] / self.scale[taken],
            weight=weight / weight.mean(),
            known_at=self.known_at[taken],
            label_end=self.label_end[taken],
            embargo=embargo_bars * self.timeframe,
            others={
                bars: HorizonLabels(labels.y[taken], labels.realised[taken])
                for bars, labels in self.others.items()
            },
        )

    def weights(self, rows: Rows) -> Floats:
        """Return the sample weights of training rows, mean 1."""
        return sample_weights(
            self.symbol[rows],
            self.known_at[rows],
            self.label_end[rows],
            timeframe=self.timeframe,
            time_decay=self.label.time_decay,
        )

    def mean_uniqueness(self, rows: Rows) -> float:
        """Return the mean average uniqueness of the labels of `rows`, in (0, 1]."""
        spans = (self.symbol[rows], self.known_at[rows], self.label_end[rows])
        return float(uniqueness(*spans, timeframe=self.timeframe).mean())

    def thinned(self, rows: Rows, every: int) -> npt.NDArray[np.bool_]:
        """Say which of `rows` remain if one bar in `every` is kept, staggered over the symbols."""
        bar = self.known_at[rows] // (self.timeframe // _MICROSECOND)
        kept: npt.NDArray[np.bool_] = (bar + self.symbol[rows]) % every == 0
        return kept


def build_panel(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    label: LabelConfig,
    *,
    timeframe: timedelta,
    end: datetime,
) -> Panel:
    """Join features with the labels that are known at `end`.

    Parameters
    ----------
    bars : polars.DataFrame
        Bars contract; must reach back `label.volatility_window` before the first feature row that
        is to be labelled.
    features : polars.DataFrame
        Features contract, sorted by key; every column beside the key is a feature.
    label, timeframe, end
        As in `training.labels.label_bars`.

    Raises
    ------
    ValueError
        If there are no features, or `SCALE_FEATURE` is not among them.
    """
    names = tuple(name for name in features.columns if name not in KEY)
    if SCALE_FEATURE not in names:
        raise ValueError(
            f"features lack {SCALE_FEATURE}, which scales returns; "
            "keep the volatility family in the feature set"
        )
    if features.is_empty():
        raise ValueError("features: no rows in the span; build features for it first")
    features = features.filter(pl.col("known_at") <= end)
    keys = features.select(KEY)
    joined = _labels_of(keys, bars, label, timeframe, end)
    # A column at a time: those of a long history are in many chunks.
    X = np.empty((features.height, len(names)), np.float32, order="F")
    for place, name in enumerate(names):
        X[:, place] = features[name].to_numpy()
    volatility = X[:, names.index(SCALE_FEATURE)].astype(np.float64)
    others, label_end = {}, _instants(joined["label_end"])
    for horizon in label.extra_horizons:
        further = _labels_of(keys, bars, label.at_horizon(horizon), timeframe, end)
        scaled = _returns(further) / _positive(volatility * np.sqrt(horizon))
        others[horizon] = HorizonLabels(_classes(further), scaled)
        label_end = _later(label_end, _instants(further["label_end"]))
    symbols = features["symbol"].unique().sort()
    symbol = features["symbol"].replace_strict(symbols, range(symbols.len()), return_dtype=pl.Int64)
    return Panel(
        keys=keys,
        X=X,
        feature_names=names,
        symbols=tuple(symbols.to_list()),
        symbol=symbol.to_numpy(),
        known_at=_instants(joined["known_at"]),
        label_end=label_end,
        outcome=_classes(joined),
        realised=_returns(joined),
        scale=volatility * np.sqrt(label.horizon_bars),
        label=label,
        timeframe=timeframe,
        others=others,
    )


def microseconds(instant: datetime) -> int:
    """Return `instant` as microseconds since the epoch."""
    return round(instant.timestamp() * 1_000_000)


def _labels_of(
    keys: pl.DataFrame, bars: pl.DataFrame, label: LabelConfig, timeframe: timedelta, end: datetime
) -> pl.DataFrame:
    labels = label_bars(bars, label, timeframe=timeframe, end=end)
    return keys.join(labels, on=KEY, how="left", maintain_order="left")


def _classes(labels: pl.DataFrame) -> Rows:
    return (labels["label"].cast(pl.Int64) + 1).fill_null(-1).to_numpy()


def _returns(labels: pl.DataFrame) -> Floats:
    return labels["realised_return"].fill_null(np.nan).to_numpy()


def _positive(scale: Floats) -> Floats:
    return np.where(scale > 0, scale, np.nan)


def _later(ends: Rows, others: Rows) -> Rows:
    """Return the later end of each row; a row without a label of its own remains without."""
    known = (ends != NO_END) & (others != NO_END)
    return np.where(known, np.maximum(ends, others), ends)


def _instants(series: pl.Series) -> npt.NDArray[Any]:
    return series.dt.timestamp("us").fill_null(NO_END).to_numpy()
