"""Every law over every column on one history: what `hourglass prove leakage` runs.

Over the whole history the future is cut off and changed once, after four fifths of it. Around each of
the chosen cuts a stretch of a few lookbacks is examined in depth: prefix invariance, lookback, gap
policy. On the newest stretch columns are laid beside each other, and a symbol is left out. Planted
leaks go through the same functions on the same bars, and must be caught.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from features import proof
from features.as_of_join import Readings, with_readings
from features.cuts import Cut, choose_cuts
from features.matrix import compute
from features.proof import Violation
from features.registry import Feature
from features.warm_up import WarmUp, warm_up

Progress = Callable[[int, int, str], None]
# Where the whole history is cut.
FAR = 0.8
# Lookbacks of bars before and after a cut that are examined in depth.
BEFORE, AFTER = 3, 1
# Of fewer symbols a comparison between them says little: of two, one's gain is the other's loss.
SEVERAL = 3


@dataclass(frozen=True)
class Column:
    """What one feature was over the whole history.

    Parameters
    ----------
    null_share : float
    least, greatest : float or None
    first_valid : datetime or None
        None without a value.
    """

    feature: Feature
    null_share: float
    least: float | None
    greatest: float | None
    first_valid: datetime | None


@dataclass(frozen=True)
class CaughtLeak:
    """A planted leak, the law it breaks, and the first violation of that law; None if it passed."""

    feature: Feature
    law: str
    violation: Violation | None


@dataclass(frozen=True)
class Examination:
    """What was found. A feature and law is named once, with the first cut at which it showed."""

    cuts: tuple[Cut, ...]
    violations: tuple[Violation, ...]
    columns: tuple[Column, ...]
    warm_up: tuple[WarmUp, ...]
    planted: tuple[CaughtLeak, ...]

    @property
    def passed(self) -> bool:
        """Whether no feature breaks a law and every planted leak was caught."""
        return not self.violations and all(leak.violation is not None for leak in self.planted)


def examine(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    planted: Sequence[tuple[Feature, str]] = (),
    sources: Sequence[Readings] = (),
    progress: Progress | None = None,
) -> Examination:
    """Examine `features` on `bars`.

    Parameters
    ----------
    features : sequence of Feature
    bars : polars.DataFrame
        One venue's history in the contract of `bars`, more than two of the longest lookbacks.
    planted : sequence of (Feature, str)
        Leaks that must be caught, and the law each breaks: the beginning of a `Violation.law`.
    sources : sequence of Readings, optional
        Joined to the bars here, and anew wherever the future is taken away.
    progress : callable, optional
        Told (stages done, stages, what is looked at).

    Raises
    ------
    ValueError
        If the bars are too few.
    """
    bars = with_readings(bars.sort("symbol", "known_at"), sources)
    broken = proof.computable(features, bars, timeframe=timeframe)
    unfit = {violation.feature for violation in broken}
    sound = [one for one in features if one.name not in unfit]
    everyone = [*sound, *(leak for leak, _ in planted)]
    lookback = max((one.lookback for one in everyone), default=1)
    cuts = choose_cuts(bars, timeframe=timeframe, lookback=lookback)
    families = sorted({one.family for one in everyone})
    total, done, found = len(families) + len(cuts) + 2, 0, [*broken, *_unstated(features)]
    columns: list[Column] = []

    def tell(text: str) -> None:
        nonlocal done
        if progress:
            progress(done, total, text)
        done += 1

    for family in families:
        tell(f"{family} over the whole history")
        group = [one for one in everyone if one.family == family]
        whole = compute(bars, group, timeframe=timeframe)
        found += _over_all(group, bars, whole, timeframe, sources)
        of_family = [one for one in group if one in sound]
        columns += [_column(one, whole) for one in of_family]
        found += _of_columns(of_family, bars, whole)
    for cut in cuts:
        tell(f"{cut.why}, {cut.instant:%Y-%m-%d %H:%M}")
        around = _around(everyone, bars, cut, lookback, timeframe, sources)
        found += [_at(cut, one) for one in around]
    newest = _stretch(bars, cuts[-1], lookback, timeframe)
    tell("columns beside each other")
    found += _beside_each_other(sound, newest, timeframe)
    tell("how values warm up")
    warmth = warm_up(sound, newest, timeframe=timeframe, instants=[cuts[-1].instant])
    tell("done")
    leaks = {leak.name for leak, _ in planted}
    return Examination(
        cuts=tuple(cuts),
        violations=tuple(_once([one for one in found if one.feature not in leaks])),
        columns=tuple(columns),
        warm_up=tuple(warmth),
        planted=tuple(_caught(leak, law, found) for leak, law in planted),
    )


def _over_all(
    group: Sequence[Feature],
    bars: pl.DataFrame,
    whole: pl.DataFrame,
    timeframe: timedelta,
    sources: Sequence[Readings],
) -> Iterator[Violation]:
    known = bars["known_at"].unique().sort()
    cut = Cut(known[int((len(known) - 1) * FAR)], "four fifths of the whole history")
    for one in proof.prefix_invariance(
        group, bars, timeframe=timeframe, cuts=[cut.instant], whole=whole, sources=sources
    ):
        yield _at(cut, one)


def _around(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    cut: Cut,
    lookback: int,
    timeframe: timedelta,
    sources: Sequence[Readings],
) -> Iterator[Violation]:
    """Iterate over what breaks at one cut, on the bars around it."""
    stretch = _stretch(bars, cut, lookback, timeframe)
    past = stretch.filter(pl.col("known_at") <= cut.instant)
    if past.height < stretch.height:
        yield from proof.prefix_invariance(
            features, stretch, timeframe=timeframe, cuts=[cut.instant], sources=sources
        )
    yield from proof.lookback_sufficiency(
        features, past, timeframe=timeframe, instants=[cut.instant]
    )
    yield from proof.gap_policy(features, past, timeframe=timeframe, instant=cut.instant)
    yield from proof.symbol_isolation(features, past, timeframe=timeframe)
    if cut.after_gap_of is not None:
        yield from proof.after_an_outage(
            features, past, timeframe=timeframe, symbol=cut.after_gap_of, instant=cut.instant
        )


def _beside_each_other(
    features: Sequence[Feature], bars: pl.DataFrame, timeframe: timedelta
) -> Iterator[Violation]:
    """Iterate over columns that say the same, and panel columns that do not bear an absent symbol."""
    several = bars["symbol"].n_unique() >= SEVERAL
    asked = [one for one in features if several or one.scope == "symbol"]
    matrix = compute(bars, asked, timeframe=timeframe)
    yield from proof.distinct([one for one in asked if matrix[one.name].count()], matrix)
    now = matrix.filter(pl.col("known_at") == bars["known_at"].max())
    panel = [one for one in asked if one.scope == "panel" and now[one.name].count()]
    if panel:
        yield from proof.instant_isolation(panel, bars, timeframe=timeframe)


def _stretch(bars: pl.DataFrame, cut: Cut, lookback: int, timeframe: timedelta) -> pl.DataFrame:
    begin = cut.instant - BEFORE * lookback * timeframe
    end = cut.instant + AFTER * lookback * timeframe
    return bars.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= end))


def _unstated(features: Sequence[Feature]) -> Iterator[Violation]:
    for one in features:
        if not one.unit.strip() or not one.doc.endswith(f"[{one.unit}]"):
            yield Violation(one.name, "unit stated", f"its line is {one.doc!r}")


def _of_columns(
    features: Sequence[Feature], bars: pl.DataFrame, whole: pl.DataFrame
) -> Iterator[Violation]:
    """Iterate over what is wrong with values: constant, empty, not finite, out of range.

    A column may be empty where an input is: a nullable column of the bars that has no value, a coin
    that the venue does not trade, other symbols where there is one.
    """
    yield from proof.finite_float32(features, whole)
    yield from proof.within_bounds(features, whole)
    yield from proof.informative([one for one in features if _is_fed(one, bars)], whole)


def _is_fed(one: Feature, bars: pl.DataFrame) -> bool:
    symbols = bars["symbol"].unique().to_list()
    coins = {symbol.partition("/")[0] for symbol in symbols}
    given = all(name in bars.columns and bars[name].count() for name in one.needs)
    return given and set(one.markets) <= coins and (one.scope == "symbol" or len(symbols) > 1)


def _column(one: Feature, whole: pl.DataFrame) -> Column:
    values = whole[one.name]
    valid = whole.filter(pl.col(one.name).is_not_null())["known_at"]
    return Column(
        feature=one,
        null_share=values.null_count() / max(len(values), 1),
        least=values.min(),  # type: ignore[arg-type]
        greatest=values.max(),  # type: ignore[arg-type]
        first_valid=valid.min(),  # type: ignore[arg-type]
    )


def _at(cut: Cut, violation: Violation) -> Violation:
    where = f"cut {cut.why} ({cut.instant:%Y-%m-%dT%H:%MZ}): {violation.detail}"
    return Violation(violation.feature, violation.law, where)


def _once(found: Sequence[Violation]) -> Iterator[Violation]:
    """Keep the first violation of a feature and law, and say how many more there are."""
    grouped: dict[tuple[str, str], list[Violation]] = {}
    for one in found:
        grouped.setdefault((one.feature, one.law), []).append(one)
    for first, *more in grouped.values():
        rest = f"; and at {len(more)} more places" if more else ""
        yield Violation(first.feature, first.law, first.detail + rest)


def _caught(leak: Feature, law: str, found: Sequence[Violation]) -> CaughtLeak:
    its = [one for one in found if one.feature == leak.name and one.law.startswith(law)]
    return CaughtLeak(leak, law, its[0] if its else None)
