"""Every law over every column on one history: what `hourglass prove leakage` runs.

Over the whole history the future is cut off and changed once, after four fifths of it. Around each of
the chosen cuts a stretch of a few lookbacks is examined in depth: prefix invariance, lookback, gap
policy. From one stretch a whole lookback is taken out, as by an outage. On the newest columns are laid
beside each other, and a symbol is left out. A feature that fails anywhere is named and left out of what
follows. Planted leaks go through the same functions on the same bars, and must be caught.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import polars as pl

from features import proof
from features.as_of_join import Readings, with_readings
from features.cuts import Cut, choose_cuts
from features.matrix import compute
from features.proof import Violation
from features.registry import Feature, FeatureFailed
from features.warm_up import WarmUp, warm_up

Progress = Callable[[int, int, str], None]
_Told = TypeVar("_Told")
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
    leaks = {leak.name for leak, _ in planted}
    broken = proof.computable(features, bars, timeframe=timeframe)
    unfit = {violation.feature for violation in broken}
    everyone = [one for one in features if one.name not in unfit] + [leak for leak, _ in planted]
    lookback = max((one.lookback for one in everyone), default=1)
    cuts = choose_cuts(bars, timeframe=timeframe, lookback=lookback)
    families = sorted({one.family for one in everyone})
    total, done, found = len(families) + len(cuts) + 3, 0, [*broken, *_unstated(features)]
    columns: list[Column] = []

    def tell(text: str) -> None:
        nonlocal done
        if progress:
            progress(done, total, text)
        done += 1

    def borne(
        text: str, group: Sequence[Feature], stage: Callable[[list[Feature]], _Told]
    ) -> _Told:
        """Return what a stage says of those that do not fail in it, or did before; name those that do."""
        tell(text)
        while True:
            try:
                return stage([one for one in group if one.name not in unfit])
            except FeatureFailed as error:
                unfit.add(error.feature)
                found.append(Violation(error.feature, "computable", f"{text}: {error}"))

    for family in families:
        of_family, its_columns = borne(
            f"{family} over the whole history",
            [one for one in everyone if one.family == family],
            partial(_over_all, bars=bars, leaks=leaks, timeframe=timeframe, sources=sources),
        )
        found += of_family
        columns += its_columns
    for cut in cuts:
        around = borne(
            f"{cut.why}, {cut.instant:%Y-%m-%d %H:%M}",
            everyone,
            partial(
                _around, bars=bars, cut=cut, lookback=lookback, timeframe=timeframe, sources=sources
            ),
        )
        found += [_at(cut, one) for one in around]
    found += borne(
        "after an outage as long as the longest lookback",
        everyone,
        partial(
            _after_everything,
            bars=_stretch(bars, cuts[0], lookback, timeframe),
            instant=cuts[0].instant,
            lookback=lookback,
            timeframe=timeframe,
        ),
    )
    newest = _stretch(bars, cuts[-1], lookback, timeframe)
    found += borne(
        "columns beside each other",
        [one for one in everyone if one.name not in leaks],
        partial(_beside_each_other, bars=newest, timeframe=timeframe),
    )
    warmth = borne(
        "how values warm up",
        [one for one in everyone if one.name not in leaks],
        partial(warm_up, bars=newest, timeframe=timeframe, instants=[cuts[-1].instant]),
    )
    tell("done")
    return Examination(
        cuts=tuple(cuts),
        violations=tuple(_once([one for one in found if one.feature not in leaks])),
        columns=tuple(one for one in columns if one.feature.name not in unfit),
        warm_up=tuple(warmth),
        planted=tuple(_caught(leak, law, found) for leak, law in planted),
    )


def _over_all(
    features: Sequence[Feature],
    *,
    bars: pl.DataFrame,
    leaks: Set[str],
    timeframe: timedelta,
    sources: Sequence[Readings],
) -> tuple[list[Violation], list[Column]]:
    """Return what breaks over the whole history, and what the columns that are no leaks were over it."""
    known = bars["known_at"].unique().sort()
    cut = Cut(known[int((len(known) - 1) * FAR)], "four fifths of the whole history")
    whole = compute(bars, features, timeframe=timeframe)
    found = proof.prefix_invariance(
        features, bars, timeframe=timeframe, cuts=[cut.instant], whole=whole, sources=sources
    )
    own = [one for one in features if one.name not in leaks]
    return (
        [*(_at(cut, one) for one in found), *_of_columns(own, bars, whole)],
        [_column(one, whole) for one in own],
    )


def _around(
    features: Sequence[Feature],
    *,
    bars: pl.DataFrame,
    cut: Cut,
    lookback: int,
    timeframe: timedelta,
    sources: Sequence[Readings],
) -> list[Violation]:
    """Return what breaks at one cut, on the bars around it."""
    stretch = _stretch(bars, cut, lookback, timeframe)
    past = stretch.filter(pl.col("known_at") <= cut.instant)
    instant, found = cut.instant, list[Violation]()
    if past.height < stretch.height:
        found += proof.prefix_invariance(
            features, stretch, timeframe=timeframe, cuts=[instant], sources=sources
        )
    found += proof.lookback_sufficiency(features, past, timeframe=timeframe, instants=[instant])
    found += proof.gap_policy(features, past, timeframe=timeframe, instant=instant)
    found += proof.symbol_isolation(features, past, timeframe=timeframe)
    if cut.after_gap_of is not None:
        found += proof.after_an_outage(
            features, stretch, timeframe=timeframe, symbol=cut.after_gap_of, instant=instant
        )
    return found


def _after_everything(
    features: Sequence[Feature],
    *,
    bars: pl.DataFrame,
    instant: datetime,
    lookback: int,
    timeframe: timedelta,
) -> list[Violation]:
    """Return what has a value too early after an outage of all symbols that leaves nothing of any window."""
    known_at = bars["known_at"]
    gone = (known_at > instant - lookback * timeframe) & (known_at < instant)
    first = bars.filter(known_at == instant)["symbol"].min()
    assert isinstance(first, str)
    return proof.after_an_outage(
        features, bars.filter(~gone), timeframe=timeframe, symbol=first, instant=instant
    )


def _beside_each_other(
    features: Sequence[Feature], *, bars: pl.DataFrame, timeframe: timedelta
) -> list[Violation]:
    """Return columns that say the same, and panel columns that do not bear an absent symbol."""
    several = bars["symbol"].n_unique() >= SEVERAL
    asked = [one for one in features if several or one.scope == "symbol"]
    matrix = compute(bars, asked, timeframe=timeframe)
    found = proof.distinct([one for one in asked if matrix[one.name].count()], matrix)
    now = matrix.filter(pl.col("known_at") == bars["known_at"].max())
    panel = [one for one in asked if one.scope == "panel" and now[one.name].count()]
    if panel:
        found += proof.instant_isolation(panel, bars, timeframe=timeframe)
    return found


def _stretch(bars: pl.DataFrame, cut: Cut, lookback: int, timeframe: timedelta) -> pl.DataFrame:
    begin = cut.instant - BEFORE * lookback * timeframe
    end = cut.instant + AFTER * lookback * timeframe
    return bars.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= end))


def _unstated(features: Sequence[Feature]) -> Iterator[Violation]:
    """Iterate over features that do not say their unit, or of which nothing says what they are."""
    for one in features:
        if not one.unit.strip() or not one.doc.endswith(f"[{one.unit}]"):
            yield Violation(one.name, "unit stated", f"its line is {one.doc!r}")
        try:
            one.definition_hash  # noqa: B018
        except FeatureFailed as error:
            yield Violation(one.name, "identified", str(error))


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
