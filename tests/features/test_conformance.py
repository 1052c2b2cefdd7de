"""Every registered feature obeys the same laws, and a planted leak does not pass."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features import proof
from features.as_of_join import Readings, with_readings
from features.cuts import block_ends
from features.grid import Grid
from features.kernels import Array
from features.matrix import build_matrix, compute
from features.proof import Violation
from features.registry import Feature, define, registered, required_lookback, select

HOUR = timedelta(hours=1)
LAWS: dict[str, Callable[[Sequence[Feature], pl.DataFrame], list[Violation]]] = {
    "lookback_sufficiency": lambda features, bars: proof.lookback_sufficiency(
        features, bars, timeframe=HOUR, instants=[*_block_ends(bars), *_instants(bars, 0.8, 1.0)]
    ),
    "gap_policy": lambda features, bars: proof.gap_policy(
        features, bars, timeframe=HOUR, instant=_instants(bars, 1.0)[0]
    ),
    "symbol_isolation": lambda features, bars: proof.symbol_isolation(
        features, bars, timeframe=HOUR
    ),
    "instant_isolation": lambda features, bars: proof.instant_isolation(
        features, bars, timeframe=HOUR
    ),
    "finite_float32": lambda features, bars: proof.finite_float32(
        features, compute(bars, features, timeframe=HOUR)
    ),
    "computable": lambda features, bars: proof.computable(features, bars, timeframe=HOUR),
    "informative": lambda features, bars: proof.informative(
        features, compute(bars, features, timeframe=HOUR)
    ),
    "within_bounds": lambda features, bars: proof.within_bounds(
        features, compute(bars, features, timeframe=HOUR)
    ),
}
each_feature = pytest.mark.parametrize("feature", registered(), ids=lambda feature: feature.name)


def _instants(bars: pl.DataFrame, *places: float) -> list:
    known = bars["known_at"].unique().sort()
    return [known[int((len(known) - 1) * place)] for place in places]


def _block_ends(bars: pl.DataFrame) -> list[datetime]:
    longest = required_lookback()
    known = bars["known_at"].unique().sort().slice(longest)
    return [cut.instant for cut in block_ends(bars, known, timeframe=HOUR, lookback=longest)]


@pytest.fixture(scope="module")
def sources(make_bars, make_sources) -> list[Readings]:
    return make_sources(make_bars(int(required_lookback() * 2.2)))


@pytest.fixture(scope="module")
def bars(make_bars, sources) -> pl.DataFrame:
    whole = make_bars(int(required_lookback() * 2.2))
    # Outages: one bar of one symbol, and a night of another.
    row = pl.int_range(pl.len()).over("symbol")
    one = (pl.col("symbol") == "ADA/USDT") & (row == 900)
    night = (pl.col("symbol") == "ETH/USDT") & row.is_between(1000, 1008)
    return with_readings(whole.filter(~(one | night)), sources)


@pytest.fixture(scope="module")
def violations(bars: pl.DataFrame, sources: list[Readings]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    cuts = _instants(bars, 0.55, 0.8)
    early = proof.prefix_invariance(registered(), bars, timeframe=HOUR, cuts=cuts, sources=sources)
    for violation in (*early, *(v for check in LAWS.values() for v in check(registered(), bars))):
        found.setdefault(violation.feature, []).append(str(violation))
    return found


@each_feature
def test_every_feature_keeps_every_law(feature: Feature, violations) -> None:
    assert violations.get(feature.name, []) == []


@each_feature
def test_every_feature_says_what_it_is_and_in_which_unit(feature: Feature) -> None:
    assert feature.doc.endswith(f"[{feature.unit}]")
    assert len(feature.doc) > len(feature.unit) + 15
    assert feature.scope in ("symbol", "panel")


def test_increments_at_every_hour_of_the_week_equal_the_full_history(bars: pl.DataFrame) -> None:
    """Every fifth hour of five weeks is each hour of a week once: what works in blocks, at each place in them."""
    full = build_matrix(bars, timeframe=HOUR)
    known = bars["known_at"].unique().sort(descending=True)
    for instant in known.gather_every(5).head(168):
        begin = instant - required_lookback() * HOUR
        recent = bars.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= instant))
        increment = build_matrix(recent, timeframe=HOUR, since=instant - HOUR)
        assert increment.equals(full.filter(pl.col("known_at") == instant)), instant


@pytest.mark.parametrize("place", range(0, 24, 5))
def test_no_feature_has_a_value_before_its_window_is_back(make_bars, make_sources, place) -> None:
    """Wherever in a day the outage ends, and however a feature divides its time."""
    longest = required_lookback()
    bars = make_bars(3 * longest + 24, ("BTC/USDT", "ETH/USDT"))
    bars = with_readings(bars, make_sources(bars))
    end = bars["known_at"].min() + (2 * longest + place) * HOUR
    known_at = bars["known_at"]
    left = bars.filter((known_at <= end - longest * HOUR) | (known_at >= end))
    caught = proof.after_an_outage(
        registered(), left, timeframe=HOUR, symbol="ETH/USDT", instant=end
    )
    assert caught == []


@pytest.mark.market
def test_every_column_varies_within_its_range_on_real_bars(real_bars: pl.DataFrame) -> None:
    matrix = build_matrix(real_bars, timeframe=HOUR)
    features = registered()
    fed = [one for one in features if set(one.needs) <= set(real_bars.columns)]
    assert {one.family for one in features} - {one.family for one in fed} == {"open_interest"}
    assert proof.informative(fed, matrix) == []
    assert proof.finite_float32(features, matrix) == []
    assert proof.within_bounds(features, matrix) == []


@pytest.mark.market
def test_no_two_columns_say_the_same_on_real_bars(real_bars: pl.DataFrame) -> None:
    fed = [one for one in registered() if set(one.needs) <= set(real_bars.columns)]
    assert proof.distinct(fed, compute(real_bars, fed, timeframe=HOUR)) == []


@pytest.mark.market
def test_the_laws_of_time_hold_on_real_bars_with_their_gaps(real_bars: pl.DataFrame) -> None:
    assert proof.prove(registered(), real_bars, timeframe=HOUR) == []


@pytest.mark.market
def test_an_outage_of_a_day_and_a_half_is_lived_through_by_the_gap_policy(bars_of_2018) -> None:
    known = bars_of_2018.filter(pl.col("symbol") == "BTC/USDT")["known_at"].sort()
    after = known.filter(known.diff() == known.diff().max())[0]
    assert known.diff().max() == 34 * HOUR
    assert proof.prove(registered(), bars_of_2018, timeframe=HOUR) == []
    matrix = build_matrix(bars_of_2018, timeframe=HOUR).filter(pl.col("symbol") == "BTC/USDT")
    first = matrix.filter(pl.col("known_at") == after)
    held = {one.name for one in registered() if first[one.name][0] is not None}
    # What still has a value there looks at this bar alone, or at so many that 33 are within 5 %.
    assert max(one.lookback for one in registered() if one.name in held and one.lookback < 640) == 1
    day = matrix.filter(pl.col("known_at").is_between(after, after + 25 * HOUR))
    assert day["realised_vol_24"].is_null().to_list() == [True] * 23 + [False] * 3


def centred_window() -> pl.Expr:
    """Mean of the bars around this one [quote]"""
    return pl.col("close").rolling_mean(9, center=True)


def full_sample_zscore() -> pl.Expr:
    """Close in deviations of the whole sample [standard deviations]"""
    return (pl.col("close") - pl.col("close").mean()) / pl.col("close").std()


def next_return() -> pl.Expr:
    """Return of the next bar [log return]"""
    return pl.col("close").log().diff().shift(-1)


def forward_filled_label() -> pl.Expr:
    """Whether the price is higher a day later, known once a day and carried on [flag]"""
    label = (pl.col("close").shift(-24) > pl.col("close")).cast(pl.Float64)
    return pl.when(pl.col("known_at").dt.hour() == 0).then(label).forward_fill()


def backward_filled_volume() -> pl.Expr:
    """Mean volume, filled from the next one after an outage [base]"""
    return pl.col("volume").rolling_mean(3).backward_fill()


def centred_kernel(grid: Grid) -> Array:
    """Mean of the returns around this bar [log return]"""
    return grid.lag(grid.mean(grid.log_return, 9), 0) + np.roll(grid.log_return, -1, axis=1)


@pytest.mark.parametrize(
    "leak",
    [
        centred_window,
        full_sample_zscore,
        next_return,
        forward_filled_label,
        backward_filled_volume,
        centred_kernel,
    ],
    ids=lambda leak: leak.__name__,
)
def test_a_planted_leak_is_caught_by_prefix_invariance(leak, bars: pl.DataFrame) -> None:
    planted = define(leak, lookback=200)
    # One cut is the first bar after the outage of a night.
    known = bars.filter(pl.col("symbol") == "ETH/USDT")["known_at"]
    cuts = [*_instants(bars, 0.3, 0.55, 0.8), known.filter(known.diff() > 2 * HOUR)[0]]
    caught = proof.prefix_invariance(planted, bars, timeframe=HOUR, cuts=cuts)
    assert {violation.feature for violation in caught} == {leak.__name__}


def endless_ema() -> pl.Expr:
    """Exponential mean that never forgets [quote]"""
    return pl.col("close").ewm_mean(span=96)


def running_total() -> pl.Expr:
    """Volume since the beginning [base]"""
    return pl.col("volume").cum_sum()


def long_window() -> pl.Expr:
    """Mean of more bars than it says [quote]"""
    return pl.col("close").rolling_mean(48)


@pytest.mark.parametrize(
    ("feature", "lookback"),
    [(endless_ema, 96), (running_total, 500), (long_window, 47)],
    ids=["endless_ema", "running_total", "long_window"],
)
def test_a_lookback_declared_too_short_is_caught(feature, lookback: int, bars) -> None:
    planted = define(feature, lookback=lookback)
    instants = _instants(bars, 0.9, 1.0)
    caught = proof.lookback_sufficiency(planted, bars, timeframe=HOUR, instants=instants)
    assert {violation.feature for violation in caught} == {feature.__name__}


def test_a_lookback_declared_right_is_not_accused(bars: pl.DataFrame) -> None:
    honest = define(long_window, lookback=48)
    instants = _instants(bars, 0.9, 1.0)
    assert proof.lookback_sufficiency(honest, bars, timeframe=HOUR, instants=instants) == []


def filled_momentum() -> pl.Expr:
    """Return over a day with missing bars filled from the last [log return]"""
    return pl.col("close").forward_fill().log().diff(24)


def test_one_that_fails_on_many_bars_only_is_named(bars: pl.DataFrame) -> None:
    def fails_later(grid: Grid) -> Array:
        """Close over the bars that are too many [quote]"""
        return grid.close / (1 // (grid.length < 10))

    planted = define(fails_later, lookback=1)
    caught = proof.prove([*select(["atr_14"]), *planted], bars, timeframe=HOUR)
    assert [(v.feature, v.law) for v in caught] == [("fails_later", "computable")]


def test_a_filled_gap_is_caught(bars: pl.DataFrame) -> None:
    planted = define(filled_momentum, lookback=48)
    caught = proof.gap_policy(planted, bars, timeframe=HOUR, instant=_instants(bars, 1.0)[0])
    assert [violation.law for violation in caught] == ["gap policy"]


def sneaks_at_the_others(grid: Grid) -> Array:
    """Highest close of all symbols, though it says it sees one [quote]"""
    return np.broadcast_to(np.max(np.nan_to_num(grid.close), axis=0), grid.close.shape).copy()


def test_a_symbol_feature_that_sees_other_symbols_is_caught(bars: pl.DataFrame) -> None:
    planted = define(sneaks_at_the_others, lookback=1)
    caught = proof.symbol_isolation(planted, bars, timeframe=HOUR)
    assert {violation.feature for violation in caught} == {"sneaks_at_the_others"}


def twice_the_return() -> pl.Expr:
    """Twice the log return of the last bar [log return]"""
    return 2 * pl.col("close").log().diff()


def minus_the_return() -> pl.Expr:
    """The log return of the last bar, the other way round [log return]"""
    return -pl.col("close").log().diff()


def test_columns_that_say_the_same_are_caught(bars: pl.DataFrame) -> None:
    planted = [*define(twice_the_return, lookback=2), *define(minus_the_return, lookback=2)]
    chosen = [*select(["realised_vol_72"]), *planted]
    caught = proof.distinct(chosen, compute(bars, chosen, timeframe=HOUR))
    assert [(v.feature, v.law) for v in caught] == [("minus_the_return", "distinct")]
    assert "1.00000 with twice_the_return" in caught[0].detail


def dividing_by_nothing(grid: Grid) -> Array:
    """Close over nothing [quote]"""
    return grid.close / (1 // 0)


def a_bar_short(grid: Grid) -> Array:
    """A column short of a bar [quote]"""
    return grid.close[:, 1:]


def test_features_that_do_not_run_are_named_before_anything_else(bars: pl.DataFrame) -> None:
    planted = [*define(dividing_by_nothing, lookback=1), *define(a_bar_short, lookback=1)]
    caught = proof.prove([*select(["atr_14"]), *planted], bars, timeframe=HOUR)
    assert [(v.feature, v.law) for v in caught] == [
        ("dividing_by_nothing", "computable"),
        ("a_bar_short", "computable"),
    ]


def always_one() -> pl.Expr:
    """The number one [count]"""
    return pl.lit(1.0)


def never_there() -> pl.Expr:
    """Nothing [count]"""
    return pl.lit(None, pl.Float64)


def price() -> pl.Expr:
    """The close itself, a million times [quote]"""
    return pl.col("close") * 1e6


def test_constant_empty_and_unscaled_columns_are_caught(bars: pl.DataFrame) -> None:
    planted = [*define(always_one, lookback=1), *define(never_there, lookback=1)]
    matrix = compute(bars, planted, timeframe=HOUR)
    laws = {violation.law for violation in proof.informative(planted, matrix)}
    assert laws == {"not constant", "not all null"}
    unscaled = define(price, lookback=1, bounds=(0.0, 1.0))
    matrix = compute(bars, unscaled, timeframe=HOUR)
    assert [v.law for v in proof.within_bounds(unscaled, matrix)] == ["declared range", "scale"]
