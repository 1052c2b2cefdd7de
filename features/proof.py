"""Proof that a column is causal: every check of a feature as a function that returns violations.

A violation is a sentence that names the feature, where and by how much. The conformance tests run these
over every registered feature, and over planted leaks that they must catch. Nothing here knows
which feature it looks at: a file dropped into `features/` is proved by the same code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.as_of_join import SOURCE_COLUMNS, Readings, with_readings
from features.cuts import block_ends
from features.grid import COVERAGE
from features.matrix import compute
from features.pieces import KEY
from features.registry import Feature, FeatureFailed

RTOL = 1e-5
# Absolute tolerance, in units of the column's median absolute value.
ATOL_OF_SCALE = 1e-6
# What a changed future is multiplied by: large enough that any trace of it shows.
SHOCK = 1e6
# Present bars of a window of windows: each may lack what the gap policy lets it lack.
_LEAST_COVERAGE = COVERAGE**2
_PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume")
_SHAKEN = frozenset((*_PRICES, *_AMOUNTS, *SOURCE_COLUMNS))


@dataclass(frozen=True)
class Violation:
    """A feature that breaks a law.

    Parameters
    ----------
    feature : str
    law : str
        Name of the check.
    detail : str
        Where, and by how much.
    """

    feature: str
    law: str
    detail: str

    def __str__(self) -> str:
        return f"{self.feature} breaks {self.law}: {self.detail}"


def computable(
    features: Sequence[Feature], bars: pl.DataFrame, *, timeframe: timedelta
) -> list[Violation]:
    """Check that a feature runs and gives one float64 a symbol and bar, on the newest three bars."""
    few = bars.filter(pl.col("known_at") > pl.col("known_at").max() - 3 * timeframe)
    found = []
    for one in features:
        try:
            compute(few, [one], timeframe=timeframe)
        except FeatureFailed as error:
            found.append(Violation(one.name, "computable", str(error)))
    return found


def distinct(
    features: Sequence[Feature], matrix: pl.DataFrame, *, most: float = 0.999
) -> list[Violation]:
    """Check that no two columns say the same: |correlation| at most `most` where both have values."""
    table = matrix.select(one.name for one in features).to_numpy().astype(np.float64)
    present = np.isfinite(table)
    centred = np.where(present, table - np.nanmean(table, axis=0), 0.0)
    held = present.astype(np.float64)
    both = centred.T @ centred
    # Over the rows where both are present the means differ a little from those of each column.
    count, first = held.T @ held, centred.T @ held
    square = (centred**2).T @ held
    with np.errstate(all="ignore"):
        cov = both / count - first * first.T / count**2
        variance = square / count - (first / count) ** 2
        correlation = np.abs(cov) / np.sqrt(variance * variance.T)
    same = np.argwhere(np.triu(correlation > most, k=1))
    return [
        Violation(
            features[j].name,
            "distinct",
            f"correlation {correlation[i, j]:.5f} with {features[i].name}",
        )
        for i, j in same
    ]


def prefix_invariance(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    cuts: Sequence[datetime],
    whole: pl.DataFrame | None = None,
    sources: Sequence[Readings] = (),
) -> list[Violation]:
    """Check that neither cutting nor changing what is known after an instant changes a value up to it.

    Parameters
    ----------
    bars : polars.DataFrame
        History, in the contract of `bars`, with the columns of `sources` joined to it.
    cuts : sequence of datetime
        Instants after which the future is cut off, then shaken: prices multiplied by a million.
    whole : polars.DataFrame, optional
        The features of all `bars`, where they are at hand.
    sources : sequence of Readings, optional
        Cut, or shaken, where they were published after the instant, and joined anew: so the join is
        proved with the feature.
    """
    if whole is None:
        whole = compute(bars, features, timeframe=timeframe)
    found: list[Violation] = []
    for cut in cuts:
        past = pl.col("known_at") <= cut
        expected = whole.filter(past)
        for law, changed, said in (
            ("future cut off", bars.filter(past), [source.until(cut) for source in sources]),
            ("future changed", _shaken(bars, ~past), [one.shaken_after(cut) for one in sources]),
        ):
            known = with_readings(changed, said)
            given = compute(known, features, timeframe=timeframe).filter(past)
            found += _differences(features, expected, given, f"prefix invariance ({law})")
    return found


def lookback_sufficiency(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    instants: Sequence[datetime],
) -> list[Violation]:
    """Check that the declared lookback gives the value of the full history.

    At each instant a value computed from the last `lookback` bars alone is compared with that from
    all bars, and with that from all bars after everything before the lookback was multiplied by a
    million, so that a kernel with a long memory cannot hide it.
    """
    whole = compute(bars, features, timeframe=timeframe)
    found: list[Violation] = []
    for lookback in sorted({one.lookback for one in features}):
        group = [one for one in features if one.lookback == lookback]
        for instant in instants:
            now = pl.col("known_at") == instant
            begin = instant - lookback * timeframe
            recent = bars.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= instant))
            expected = whole.filter(now).select(*KEY, *(one.name for one in group))
            for law, frame in (
                ("older bars cut off", recent),
                ("older bars changed", _shaken(bars, pl.col("known_at") <= begin)),
            ):
                given = compute(frame, group, timeframe=timeframe).filter(now)
                scale = whole.select(one.name for one in group)
                found += _differences(
                    group, expected, given, f"lookback {lookback} ({law})", scale=scale
                )
    return found


def after_an_outage(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    symbol: str,
    instant: datetime,
) -> list[Violation]:
    """Check the gap policy at the bars of `symbol` from `instant` on, which come after bars that never were.

    Asked are features whose lookback, but for its last bar, is all outage; those of scope "panel" only
    where no symbol traded on. Until the lookback is back, a value may stand only where at least 95 % of
    the bars it looks at are there, or 95 % of 95 % for a window of windows. In blocks of time it looks
    at more bars from one to the next, so how many is found out: had the history before the outage
    come right before `instant`, that many of the newest bars would have given the value of all.
    """
    now = pl.col("known_at")
    before = bars.filter((pl.col("symbol") == symbol) & (now < instant))["known_at"].max()
    # Where nothing came before, all that is not there is outage.
    if not isinstance(before, datetime):
        before = bars["known_at"].sort()[0] - timeframe
    outage = instant - before - timeframe
    traded_on = not bars.filter((now > before) & (now < instant)).is_empty()
    asked = [
        one
        for one in features
        if one.lookback > 2
        and outage >= (one.lookback - 1) * timeframe
        and not (traded_on and one.scope == "panel")
    ]
    if not asked:
        return []
    end = instant + max(one.lookback for one in asked) * timeframe
    given = bars.filter((now < end) & ((pl.col("symbol") == symbol) | (not traded_on)))
    without = given.with_columns(known_at=pl.when(now < instant).then(now + outage).otherwise(now))
    where = f"right after {outage // timeframe} bars that are missing"
    return list(_too_early(asked, given, without, timeframe, symbol, instant, where))


def _too_early(
    features: Sequence[Feature],
    given: pl.DataFrame,
    without: pl.DataFrame,
    timeframe: timedelta,
    symbol: str,
    instant: datetime,
    where: str,
) -> Iterator[Violation]:
    """Iterate over features with a value from `instant` on that more bars would change, each once."""
    matrix, whole = (compute(bars, features, timeframe=timeframe) for bars in (given, without))
    back = (pl.col("symbol") == symbol) & (pl.col("known_at") >= instant)
    left = list(features)
    for row in matrix.filter(back).iter_rows(named=True):
        at = row["known_at"]
        count = (at - instant) // timeframe + 1
        left = [one for one in left if count < _LEAST_COVERAGE * one.lookback]
        held = [one for one in left if row[one.name] is not None]
        if not held:
            continue
        begin = at - int(count / _LEAST_COVERAGE + 1e-9) * timeframe
        recent = without.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= at))
        now = (pl.col("symbol") == symbol) & (pl.col("known_at") == at)
        few = compute(recent, held, timeframe=timeframe).filter(now)
        changed = [one.feature for one in _differences(held, whole.filter(now), few, "", whole)]
        for name in changed:
            detail = f"{row[name]:g} for {symbol} at {at} from {count} bars {where}"
            yield Violation(name, "gap policy", detail)
        left = [one for one in left if one.name not in changed]


def gap_policy(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    instant: datetime,
) -> list[Violation]:
    """Check that a window with too few bars is null and that nothing is filled.

    Every other bar before `instant` is taken out: no window of three or more bars then has 95 % of
    its bars. A feature of more than two bars must be null there.
    """
    number = (pl.col("known_at").dt.epoch("us") - _epoch(instant)) // _microseconds(timeframe)
    thinned = bars.filter((number % 2 == 0) | (number > 0))
    given = compute(thinned, features, timeframe=timeframe).filter(pl.col("known_at") == instant)
    return [
        Violation(one.name, "gap policy", f"{count} values at {instant} over windows half empty")
        for one in features
        if one.lookback > 2 and (count := given[one.name].count())
    ]


def finite_float32(features: Sequence[Feature], matrix: pl.DataFrame) -> list[Violation]:
    """Check dtype, and that no value is NaN or infinite."""
    found = []
    for one in features:
        column = matrix[one.name]
        if column.dtype != pl.Float32:
            found.append(Violation(one.name, "float32", f"dtype {column.dtype}"))
        elif not column.drop_nulls().is_finite().all():
            found.append(Violation(one.name, "finite", "NaN or infinite values"))
    return found


def informative(features: Sequence[Feature], matrix: pl.DataFrame) -> list[Violation]:
    """Check that no column is constant or all null."""
    found = []
    for one in features:
        values = matrix[one.name].drop_nulls()
        if values.is_empty():
            found.append(Violation(one.name, "not all null", "no value at all"))
        elif values.min() == values.max():
            found.append(Violation(one.name, "not constant", f"{values[0]:g} throughout"))
    return found


def within_bounds(features: Sequence[Feature], matrix: pl.DataFrame) -> list[Violation]:
    """Check the declared range, and that the scale is that of a ratio, not of a price."""
    found = []
    for one in features:
        values = matrix[one.name].drop_nulls()
        low, high = one.bounds
        least, most = values.min(), values.max()
        if values.is_empty():
            continue
        assert isinstance(least, float)
        assert isinstance(most, float)
        if (low is not None and least < low - RTOL) or (high is not None and most > high + RTOL):
            detail = f"values from {least:g} to {most:g}, declared {low} to {high}"
            found.append(Violation(one.name, "declared range", detail))
        if max(abs(least), abs(most)) > 1e3:
            detail = f"values from {least:g} to {most:g} grow with the price or the volume"
            found.append(Violation(one.name, "scale", detail))
    return found


def symbol_isolation(
    features: Sequence[Feature], bars: pl.DataFrame, *, timeframe: timedelta
) -> list[Violation]:
    """Check that a feature of scope "symbol" is the same with and without the other symbols."""
    alone = [one for one in features if one.scope == "symbol"]
    together = compute(bars, alone, timeframe=timeframe)
    found: list[Violation] = []
    for symbol in bars["symbol"].unique().sort().to_list():
        own = pl.col("symbol") == symbol
        given = compute(bars.filter(own), alone, timeframe=timeframe)
        found += _differences(alone, together.filter(own), given, "symbol isolation")
    return found


def instant_isolation(
    features: Sequence[Feature], bars: pl.DataFrame, *, timeframe: timedelta
) -> list[Violation]:
    """Check that a panel feature bears a symbol that is absent, and a universe of one.

    The absent symbol is the last by name; features against that very coin may be null.
    """
    panel = [one for one in features if one.scope == "panel"]
    symbols = bars["symbol"].unique().sort().to_list()
    newest = bars["known_at"].max()
    absent = (pl.col("symbol") == symbols[-1]) & (pl.col("known_at") == newest)
    matrix = compute(bars.filter(~absent), panel, timeframe=timeframe)
    lone = compute(bars.filter(pl.col("symbol") == symbols[0]), panel, timeframe=timeframe)
    found = [*finite_float32(panel, matrix), *finite_float32(panel, lone)]
    rest = matrix.filter(pl.col("known_at") == newest)
    return found + [
        Violation(one.name, "absent symbol", f"null for every symbol when {symbols[-1]} is absent")
        for one in panel
        if rest[one.name].count() == 0 and symbols[-1].partition("/")[0] not in one.markets
    ]


def prove(
    features: Sequence[Feature], bars: pl.DataFrame, *, timeframe: timedelta
) -> list[Violation]:
    """Run the laws of time over `features`: no future, declared lookback, own symbol, gap policy.

    A feature that does not run is named, and nothing else is checked.

    Parameters
    ----------
    bars : polars.DataFrame
        At least twice the longest lookback of bars, in the contract of `bars`.

    Returns
    -------
    list of Violation
        Empty where every column is causal.
    """
    if broken := computable(features, bars, timeframe=timeframe):
        return broken
    lookback = max((one.lookback for one in features), default=1)
    instants = bars["known_at"].unique().sort()
    cut, late = instants[int(len(instants) * 0.8)], instants[-1]
    after = instants.filter(instants >= instants[0] + lookback * timeframe)
    ends = block_ends(bars, after, timeframe=timeframe, lookback=lookback)
    asked = [*(end.instant for end in ends), cut, late]
    try:
        return [
            *prefix_invariance(features, bars, timeframe=timeframe, cuts=[cut]),
            *lookback_sufficiency(features, bars, timeframe=timeframe, instants=asked),
            *symbol_isolation(features, bars, timeframe=timeframe),
            *gap_policy(features, bars, timeframe=timeframe, instant=late),
        ]
    except FeatureFailed as error:
        return [Violation(error.feature, "computable", str(error))]


def _shaken(bars: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Return bars with prices, amounts and readings `where` multiplied, unevenly, by about a million."""
    # Odd and even rows differ, so that returns and ratios change as well as levels.
    factor = pl.when(where).then(SHOCK * (1 + 0.5 * (pl.int_range(pl.len()) % 2))).otherwise(1.0)
    return bars.with_columns(
        (pl.col(name) * factor).cast(dtype)
        for name, dtype in bars.schema.items()
        if name in _SHAKEN
    )


def _differences(
    features: Sequence[Feature],
    expected: pl.DataFrame,
    given: pl.DataFrame,
    law: str,
    scale: pl.DataFrame | None = None,
) -> Iterator[Violation]:
    if not expected.select(KEY).equals(given.select(KEY)):
        given = expected.select(KEY).join(given, on=list(KEY), how="left", maintain_order="left")
    for one in features:
        if expected[one.name].equals(given[one.name]):
            continue
        want, have = values_of(expected[one.name]), values_of(given[one.name])
        atol = ATOL_OF_SCALE * scale_of(values_of((expected if scale is None else scale)[one.name]))
        same = np.isclose(want, have, rtol=RTOL, atol=atol, equal_nan=True)
        if not same.all():
            row = int(np.argmin(same))
            key: dict[str, Any] = expected.row(row, named=True)
            yield Violation(
                one.name,
                law,
                f"{int((~same).sum())} of {same.size} values differ, first {key['symbol']} at "
                f"{key['known_at']}: {want[row]:g} became {have[row]:g}",
            )


def scale_of(values: npt.NDArray[np.float64]) -> float:
    """Return the median absolute value, zero without a value."""
    present = np.abs(values[np.isfinite(values)])
    return float(np.median(present)) if present.size else 0.0


def values_of(column: pl.Series) -> npt.NDArray[np.float64]:
    """Return a column as float64, NaN where it is null."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _epoch(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6)


def _microseconds(timeframe: timedelta) -> int:
    return timeframe // timedelta(microseconds=1)
