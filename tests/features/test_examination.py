"""Every law over every column: what is honest passes, and what is not is named with the cut that shows it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features import proof
from features.examination import examine
from features.grid import Grid
from features.kernels import Array
from features.registry import define, select
from features.warm_up import warm_up

HOUR = timedelta(hours=1)
HONEST = ("log_return_1", "realised_vol_24", "ema_gap_6_24", "return_rank_24", "btc_correlation_72")


@pytest.fixture(scope="module")
def bars(make_bars) -> pl.DataFrame:
    whole = make_bars(1100)
    row = pl.int_range(pl.len()).over("symbol")
    return whole.filter(~row.is_between(700, 732))


def next_month() -> pl.Expr:
    """Return of the next bar, in the last hour of a month only [log return]"""
    ahead = pl.col("close").log().diff().shift(-1)
    last = pl.col("known_at").dt.month() != pl.col("known_at").dt.offset_by("1h").dt.month()
    turn = (pl.col("known_at").dt.day() == 1) & (pl.col("known_at").dt.hour() == 0)
    return pl.when(last | turn).then(ahead).otherwise(0.0)


def carried_over(grid: Grid) -> Array:
    """Range of the last bars there were [ratio]"""
    found = np.log(grid.high / grid.low)
    for row in found:
        for i in range(1, row.size):
            row[i] = row[i - 1] if np.isnan(row[i]) else row[i]
    return grid.lag(found, 2)


def test_honest_columns_pass_and_every_planted_leak_is_caught(bars: pl.DataFrame) -> None:
    told: list[tuple[int, int, str]] = []
    planted = [(define(next_month, lookback=2)[0], "prefix invariance")]
    found = examine(
        select(HONEST), bars, timeframe=HOUR, planted=planted,
        progress=lambda *stage: told.append(stage),
    )  # fmt: skip
    assert found.violations == ()
    assert found.passed
    (leak,) = found.planted
    assert leak.violation is not None
    assert "the turn of a month" in leak.violation.detail
    assert [column.feature.name for column in found.columns] == sorted(
        HONEST, key=lambda name: (select([name])[0].family, HONEST.index(name))
    )
    assert [done for done, *_ in told] == list(range(told[-1][1] + 1))
    assert {cut.after_gap_of for cut in found.cuts} == {None, bars["symbol"].min()}


def test_a_leak_among_the_features_is_a_violation_named_once_a_law(bars: pl.DataFrame) -> None:
    found = examine([*select(HONEST), *define(next_month, lookback=2)], bars, timeframe=HOUR)
    assert not found.passed
    assert {(v.feature, v.law) for v in found.violations} == {
        ("next_month", "prefix invariance (future cut off)"),
        ("next_month", "prefix invariance (future changed)"),
    }
    assert len(found.violations) == 2


def test_a_planted_leak_that_passes_fails_the_proof(bars: pl.DataFrame) -> None:
    harmless = (select(["log_return_1"])[0], "prefix invariance")
    found = examine(select(["realised_vol_24"]), bars, timeframe=HOUR, planted=[harmless])
    assert found.violations == ()
    assert not found.passed


def test_a_value_carried_over_an_outage_is_caught(bars: pl.DataFrame) -> None:
    (planted,) = define(carried_over, lookback=4)
    known = bars.filter(pl.col("symbol") == "BTC/USDT")["known_at"]
    instant = known.filter(known.diff() > HOUR)[0]
    caught = proof.after_an_outage(
        [planted, *select(HONEST)], bars, timeframe=HOUR, symbol="BTC/USDT", instant=instant
    )
    assert [(v.feature, v.law) for v in caught] == [("carried_over", "gap policy")]
    assert "right after 33 bars that are missing" in caught[0].detail


def counts_what_is_there(window: int) -> pl.Expr:
    """Return over {window} bars, as if what is missing had not moved [log return]"""
    change = pl.col("close").log().diff()
    whole = change.fill_null(0.0).rolling_sum(window)
    return pl.when(change.is_not_null()).then(whole)


@pytest.mark.parametrize("window", [24, 300])
def test_a_value_invented_before_the_window_is_back_is_caught(bars, window: int) -> None:
    """After an outage of 33 bars, or of the longest lookback, whichever leaves nothing of the window."""
    (planted,) = define(counts_what_is_there, windows=(window,), lookback=lambda window: window + 1)
    found = examine([planted, *select(HONEST)], bars, timeframe=HOUR).violations
    assert {(v.feature, v.law) for v in found} == {(planted.name, "gap policy")}
    assert "from 2 bars right after" in found[0].detail


@pytest.mark.parametrize(
    "name", ["since_long_close_24", "factor_share_168", "garch_vol_168", "hidden_calm_168"]
)
def test_a_lookback_of_blocks_declared_three_bars_too_short_is_a_violation(make_bars, name) -> None:
    (honest,) = select([name])
    bars = make_bars(1400)
    assert examine([honest], bars, timeframe=HOUR).violations == ()
    short = replace(honest, lookback=honest.lookback - 3)
    found = examine([short], bars, timeframe=HOUR).violations
    assert {violation.feature for violation in found} == {name}
    assert any(violation.law.startswith(f"lookback {short.lookback}") for violation in found)


def raises(grid: Grid) -> Array:
    """Nothing, for it raises [count]"""
    raise KeyError("what it needs")


def always_two() -> pl.Expr:
    """The number two [count]"""
    return pl.lit(2.0)


def test_what_does_not_run_and_what_stands_still_are_named_beside_what_is_sound(bars) -> None:
    planted = [*define(raises, lookback=2), *define(always_two, lookback=1)]
    found = examine([*select(HONEST), *planted], bars, timeframe=HOUR)
    assert {(v.feature, v.law) for v in found.violations} == {
        ("raises", "computable"),
        ("always_two", "not constant"),
    }
    assert "raises" not in {column.feature.name for column in found.columns}


def fails_on_years(grid: Grid) -> Array:
    """The close, unless there are many [quote]"""
    assert grid.length < 1000, "too many bars"
    return grid.close


def fails_on_shaken(grid: Grid) -> Array:
    """Range of the bar, unless it is of another world [ratio]"""
    assert not (grid.high > 1e6).any(), "too high"
    return grid.high / grid.low


@pytest.mark.parametrize(
    ("function", "where"),
    [
        (fails_on_years, "test_examination over the whole history"),
        (fails_on_shaken, "test_examination over the whole history"),
    ],
)
def test_what_fails_later_is_named_and_the_others_are_examined_still(
    bars: pl.DataFrame, function, where: str
) -> None:
    chosen = [*define(function, lookback=1), *define(always_two, lookback=1), *select(HONEST)]
    planted = [(define(next_month, lookback=2)[0], "prefix invariance")]
    found = examine(chosen, bars, timeframe=HOUR, planted=planted)
    named = {violation.feature: violation for violation in found.violations}
    assert set(named) == {function.__name__, "always_two"}
    failed = named[function.__name__]
    assert failed.law == "computable"
    assert failed.detail.startswith(f"{where}: feature {function.__name__!r} of test_examination")
    assert named["always_two"].law == "not constant"
    assert found.planted[0].violation is not None
    rest = {"always_two", *HONEST}
    assert {column.feature.name for column in found.columns} == rest
    assert {one.feature for one in found.warm_up} == rest


CURVE = np.poly1d([1.0, 2.0])


def of_an_object(grid: Grid) -> Array:
    """A curve of the relative range, which nothing says [ratio]"""
    return CURVE(grid.high / grid.low)


def test_what_cannot_be_identified_is_a_violation(bars: pl.DataFrame) -> None:
    (violation,) = examine(define(of_an_object, lookback=1), bars, timeframe=HOUR).violations
    assert (violation.feature, violation.law) == ("of_an_object", "identified")
    assert "uses CURVE" in violation.detail


def a_bar_short(grid: Grid) -> Array:
    """A column short of a bar [count]"""
    return grid.close[:, 1:]


def whole_numbers(grid: Grid) -> Array:
    """Numbers that are not float64 [count]"""
    return np.ones(grid.close.shape, np.int64)


def never(grid: Grid) -> Array:
    """No value at all [count]"""
    return np.full_like(grid.close, np.nan)


def over_thirty(grid: Grid) -> Array:
    """Log return over thirty bars [log return]"""
    return grid.log_close - grid.lag(grid.log_close, 30)


@pytest.mark.parametrize(
    ("function", "lookback", "law", "detail"),
    [
        (a_bar_short, 1, "computable", "not float64"),
        (whole_numbers, 1, "computable", "it returned int64"),
        (never, 1, "not all null", "no value at all"),
        (over_thirty, 10, "lookback 10 (older bars cut off)", "became nan"),
    ],
)
def test_a_bad_feature_is_refused_by_its_name(bars, function, lookback, law, detail) -> None:
    found = examine(
        [*select(HONEST), *define(function, lookback=lookback)], bars, timeframe=HOUR
    ).violations
    assert {violation.feature for violation in found} == {function.__name__}
    assert any(v.law == law and detail in v.detail for v in found)


def the_return_again(grid: Grid) -> Array:
    """Twice the one-bar log return [log return]"""
    return 2 * grid.log_return


def only_of_all(grid: Grid) -> Array:
    """The mean return where no symbol is absent [log return]"""
    return np.tile(grid.log_return.mean(axis=0), (len(grid.symbols), 1))


def test_a_column_that_repeats_another_is_named_with_it(bars: pl.DataFrame) -> None:
    chosen = [*select(["log_return_1"]), *define(the_return_again, lookback=2)]
    (violation,) = examine(chosen, bars, timeframe=HOUR).violations
    assert (violation.feature, violation.law) == ("the_return_again", "distinct")
    assert "correlation 1.00000 with log_return_1" in violation.detail


def test_a_panel_column_that_an_absent_symbol_empties_is_named(bars: pl.DataFrame) -> None:
    planted = define(only_of_all, lookback=2, scope="panel")
    (violation,) = examine(planted, bars, timeframe=HOUR).violations
    assert (violation.feature, violation.law) == ("only_of_all", "absent symbol")
    pair = bars.filter(pl.col("symbol") != "ETH/USDT")
    assert examine(planted, pair, timeframe=HOUR).violations == ()


def test_columns_without_their_input_may_be_empty(bars: pl.DataFrame) -> None:
    blind = bars.with_columns(
        trades=pl.lit(None, pl.Int64), taker_buy_volume=pl.lit(None, pl.Float64)
    )
    lone = blind.filter(pl.col("symbol") == "ADA/USDT")
    chosen = select(["taker_imbalance_24", "return_rank_24", "btc_correlation_72", "log_return_1"])
    found = examine(chosen, lone, timeframe=HOUR)
    assert found.violations == ()
    shares = {column.feature.name: column.null_share for column in found.columns}
    assert shares["taker_imbalance_24"] == 1.0
    assert shares["log_return_1"] < 0.05


def short_mean() -> pl.Expr:
    """Mean of ten bars from however many are there, over the close [ratio]"""
    return pl.col("close").rolling_mean(10, min_samples=1) / pl.col("close")


def test_the_warm_up_table_says_how_wrong_half_a_lookback_is(bars: pl.DataFrame) -> None:
    instant = bars["known_at"].max()
    (honest, loose) = warm_up(
        [*select(["realised_vol_24"]), *define(short_mean, lookback=10)],
        bars, timeframe=HOUR, instants=[instant],
    )  # fmt: skip
    assert (honest.feature, honest.lookback) == ("realised_vol_24", 25)
    assert honest.missing == {0.5: 1.0, 1.0: 0.0, 2.0: 0.0}
    assert honest.error[1.0] == honest.error[2.0] == 0.0
    close = bars.sort("symbol", "known_at").group_by("symbol", maintain_order=True)
    errors = [
        abs(frame["close"].tail(5).mean() - frame["close"].tail(10).mean())
        / frame["close"].tail(10).mean()
        for _, frame in close.agg(pl.col("close").tail(10)).explode("close").group_by("symbol")
    ]
    assert loose.missing[0.5] == 0.0
    # Errors are measured against the value or the median, whichever is larger.
    assert loose.error[0.5] == pytest.approx(max(errors), rel=0.1)
