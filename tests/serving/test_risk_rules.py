"""Every rule by itself, what each of them promises, and what all of them promise together.

The rules run compiled, one at a time, through `apply_one`, which is kept on disk like the engine.
`rules_twin` says the same in plain Python.
"""

import ast
import inspect
import itertools
import math
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import rules_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.compiled import cached, compiled, fingerprint_of
from serving.config import CostConfig, RiskConfig
from serving.controls import LIQUIDATE, PAUSE, RUN, Controls
from serving.desk import Desk, new_desk
from serving.limits import Limits, limits_of
from serving.market import Market
from serving.references import by_reference
from serving.risk import names, rules
from serving.risk.asset_cap import asset_cap
from serving.risk.capital_ramp import capital_ramp
from serving.risk.control import control
from serving.risk.cooldown import cooldown
from serving.risk.correlation_limit import correlation_limit
from serving.risk.drawdown_size import drawdown_size
from serving.risk.drawdown_stop import drawdown_stop
from serving.risk.gross_cap import gross_cap
from serving.risk.holding_period import holding_period
from serving.risk.long_only import long_only
from serving.risk.loss_limits import daily_loss, monthly_loss, weekly_loss
from serving.risk.minimum_turnover import minimum_turnover
from serving.risk.minimum_volatility import minimum_volatility
from serving.risk.names import RULES, reason_of
from serving.risk.no_trade_band import no_trade_band
from serving.risk.portfolio_heat import portfolio_heat
from serving.risk.position_cap import position_cap
from serving.risk.risk_per_trade import risk_per_trade
from serving.risk.storm_size import storm_size
from serving.risk.volatility_target import volatility_target
from serving.signals import Signals
from serving.state import (
    DAY,
    EQUITY,
    FEE_TIER,
    HALTED,
    MONTH,
    PEAK,
    RAMP_STEPS,
    SCALE,
    WEEK,
    new_state,
)
from serving.tape import CUTS, FIRST_RULE_STAGE, new_tape

IN_ORDER = RULES[:-1]
# What each may do beyond shrinking what is free: close a symbol that is not scored, or keep more.
CLOSERS = ("control", "drawdown_stop", "holding_period")
NO_GROWTH = (
    "daily_loss", "weekly_loss", "monthly_loss", "cooldown", "minimum_turnover",
    "minimum_volatility",
)  # fmt: skip
SIZES = ("volatility_target", "risk_per_trade", "asset_cap")
SHARES = ("drawdown_size", "storm_size", "capital_ramp")
SHARING = ("portfolio_heat", "correlation_limit", "gross_cap")
KEYS = {
    "long_only": "allow_shorts",
    "control": "control",
    "drawdown_stop": "flatten_at_drawdown",
    "holding_period": "max_holding_bars",
    "daily_loss": "daily_loss_limit",
    "weekly_loss": "weekly_loss_limit",
    "monthly_loss": "monthly_loss_limit",
    "cooldown": "stop_cooldown_bars",
    "asset_cap": "max_asset_weight",
    "drawdown_size": "reduce_at_drawdown",
    "capital_ramp": "ramp_start",
    "position_cap": "max_positions",
    "portfolio_heat": "max_portfolio_heat",
    "correlation_limit": "max_correlated_weight",
    "gross_cap": "max_gross_weight",
    "venue_filters": "minimum notional",
}
NO_LIMITS = RiskConfig(
    allow_shorts=True,
    volatility_target=1e6,
    risk_per_trade=1.0,
    max_positions=99,
    max_asset_weight=1.0,
    max_gross_weight=1e6,
    max_portfolio_heat=1e6,
    max_correlated_weight=1e6,
    minimum_volatility=0.0,
    ramp_start=1.0,
)
# A round trip costs 0.2 %.
COSTS = CostConfig(slippage_model="fixed", slippage_rate=0.0, spread_rate=0.0)


@compiled
def one_rule(rule: int, bar: int, desk: Desk) -> None:  # noqa: PLR0912, one line a rule
    if rule == names.LONG_ONLY:
        long_only(bar, desk)
    elif rule == names.CONTROL:
        control(bar, desk)
    elif rule == names.DRAWDOWN_STOP:
        drawdown_stop(bar, desk)
    elif rule == names.HOLDING_PERIOD:
        holding_period(bar, desk)
    elif rule == names.DAILY_LOSS:
        daily_loss(bar, desk)
    elif rule == names.WEEKLY_LOSS:
        weekly_loss(bar, desk)
    elif rule == names.MONTHLY_LOSS:
        monthly_loss(bar, desk)
    elif rule == names.COOLDOWN:
        cooldown(bar, desk)
    elif rule == names.MINIMUM_TURNOVER:
        minimum_turnover(bar, desk)
    elif rule == names.MINIMUM_VOLATILITY:
        minimum_volatility(bar, desk)
    elif rule == names.VOLATILITY_TARGET:
        volatility_target(bar, desk)
    elif rule == names.RISK_PER_TRADE:
        risk_per_trade(bar, desk)
    elif rule == names.ASSET_CAP:
        asset_cap(bar, desk)
    elif rule == names.DRAWDOWN_SIZE:
        drawdown_size(bar, desk)
    elif rule == names.STORM_SIZE:
        storm_size(bar, desk)
    elif rule == names.CAPITAL_RAMP:
        capital_ramp(bar, desk)
    elif rule == names.NO_TRADE_BAND:
        no_trade_band(bar, desk)
    elif rule == names.POSITION_CAP:
        position_cap(bar, desk)
    elif rule == names.PORTFOLIO_HEAT:
        portfolio_heat(bar, desk)
    elif rule == names.CORRELATION_LIMIT:
        correlation_limit(bar, desk)
    elif rule == names.GROSS_CAP:
        gross_cap(bar, desk)


def _compile(fingerprint: int):
    @cached
    def apply_one(rule: int, desk: Desk) -> int:
        one_rule(rule, 0, by_reference(desk))
        return fingerprint

    return apply_one


apply_one = _compile(fingerprint_of(one_rule, *(type_ for type_ in Desk.__annotations__.values())))


def limited(**keys) -> RiskConfig:
    return NO_LIMITS.model_copy(update=keys)


def desk_of(targets: Sequence[float], *, risk=NO_LIMITS, costs=COSTS, **known) -> Desk:
    """A desk at one close: prices 100, equity 1000, no limit but those of `risk`, no symbol frozen.

    `known` gives fields of the desk, the market, the signals and the state, as lists over symbols
    or as numbers for the whole book.
    """
    n = len(targets)

    def row(name: str, value: float) -> np.ndarray:
        return np.array([known.get(name, [value] * n)], np.float64)

    close = row("close", 100.0)
    market = Market(
        close, close, close, close, row("volume", 1e6), np.zeros((1, n)),
        np.ones(n, np.int64), np.zeros(n), np.zeros(n, np.int64),
        np.array(known.get("contract", [True] * n)), np.zeros(1, np.int64),
    )  # fmt: skip
    signals = Signals(
        np.array([known.get("desired", targets)], np.float64),
        row("edge", math.nan), row("variance", 9e-4), row("sigma", 0.01), row("stop_fraction", 0.05),
        row("correlation", 1.0), row("stress", 0.0),
    )  # fmt: skip
    state = new_state(n, 1000)
    for name in ("cooldown", "age", "stop", "trail"):
        getattr(state, name)[:] = known.get(name, [0] * n)
    state.last_close[:] = known.get("last_close", [100.0] * n)
    for name, place in (("equity", EQUITY), ("peak", PEAK), ("day", DAY), ("week", WEEK), ("month", MONTH)):  # fmt: skip
        state.money[place] = round(known.get(name, 1000) * SCALE)
    for name, place in (("halted", HALTED), ("ramp_steps", RAMP_STEPS), ("fee_tier", FEE_TIER)):
        state.conduct[place] = known.get(name, 0)
    controls = Controls(np.array([known.get("mode", RUN)], np.int64), *np.zeros((2, 1), np.bool_))
    limits = limits_of(costs, risk, timedelta(hours=1))
    desk = new_desk(market, signals, controls, state, limits, new_tape(1, n, recording=True))
    desk.targets[:] = targets
    desk.current[:] = known.get("current", [0.0] * n)
    desk.frozen[:] = known.get("frozen", [False] * n)
    desk.ceiling[:] = known.get("ceiling", [math.inf] * n)
    desk.scale[0] = known.get("scale", 1.0)
    return desk


def run(rule: str, desk: Desk) -> list[float]:
    apply_one(RULES.index(rule), desk)
    return desk.targets.tolist()


def run_all(desk: Desk, order: Sequence[str] = IN_ORDER) -> list[float]:
    for rule in order:
        run(rule, desk)
    return desk.targets.tolist()


def after(rule: str, targets: Sequence[float], **known) -> list[float]:
    """The targets one rule leaves."""
    return run(rule, desk_of(targets, **known))


def cuts_of(desk: Desk) -> list[tuple[int, str, float, float]]:
    return [
        (s, RULES[rule], asked, allowed)
        for _, s, rule, asked, allowed in desk.tape.cuts[: desk.tape.used[CUTS]].tolist()
    ]


# One rule at a time.


def test_long_only_lets_only_contracts_be_short_and_only_where_that_is_allowed() -> None:
    known = {"contract": [False, True, False]}
    assert after("long_only", [-0.3, -0.3, 0.2], **known) == [0.0, -0.3, 0.2]
    assert after("long_only", [-0.3, -0.3, 0.2], risk=limited(allow_shorts=False), **known) == [
        0.0, 0.0, 0.2,
    ]  # fmt: skip


def test_a_paused_book_may_shrink_but_not_grow() -> None:
    targets = [0.4, 0.1, 0.3, -0.4, -0.1, -0.3]
    held = [0.2, 0.2, 0.0, -0.2, -0.2, 0.1]
    assert after("control", targets, current=held, mode=PAUSE) == [0.2, 0.1, 0.0, -0.2, -0.1, 0.0]


def test_a_liquidated_book_closes_everything_that_has_a_bar_scored_or_not() -> None:
    desk = desk_of(
        [0.3, -0.3, 0.2, 0.1],
        current=[0.3, -0.3, 0.2, 0.0],
        frozen=[False, True, True, False],
        close=[100.0, 100.0, math.nan, 100.0],
        mode=LIQUIDATE,
    )
    assert run("control", desk) == [0.0, 0.0, 0.2, 0.0]
    assert desk.frozen.tolist() == [True] * 4
    assert cuts_of(desk)[1] == (1, "control", -0.3, 0.0)


def test_a_book_nobody_touches_knows_no_control() -> None:
    assert after("control", [0.3, -0.3], mode=RUN) == [0.3, -0.3]


def test_a_drawdown_at_its_limit_halts_the_book_and_closes_it() -> None:
    desk = desk_of([0.3, -0.3], current=[0.3, -0.3], equity=750, peak=1000)
    assert run("drawdown_stop", desk) == [0.0, 0.0]
    assert desk.state.conduct[HALTED] == 1
    assert desk.frozen.all()
    almost = desk_of([0.3, -0.3], equity=750.01, peak=1000)
    assert run("drawdown_stop", almost) == [0.3, -0.3]
    assert almost.state.conduct[HALTED] == 0


def test_a_halted_book_stays_flat_though_its_drawdown_is_gone() -> None:
    assert after("drawdown_stop", [0.3, -0.3], halted=1) == [0.0, 0.0]


def test_holding_period_closes_what_is_old_even_if_it_is_not_scored() -> None:
    desk = desk_of(
        [0.3, -0.2, 0.1, 0.3],
        frozen=[True, False, False, True],
        close=[100.0, 100.0, 100.0, math.nan],
        age=[5, 5, 4, 9],
        risk=limited(max_holding_bars=5),
    )
    assert run("holding_period", desk) == [0.0, 0.0, 0.1, 0.3]
    assert desk.frozen.tolist() == [True, True, False, True]
    assert after("holding_period", [0.3], age=[900], risk=limited(max_holding_bars=0)) == [0.3]


@pytest.mark.parametrize(
    ("rule", "anchor", "lost"),
    [("daily_loss", "day", 50), ("weekly_loss", "week", 100), ("monthly_loss", "month", 200)],
)
def test_nothing_grows_after_a_loss_from_the_start_of_the_period(rule, anchor, lost) -> None:
    # 5, 10 and 20 % of the 1000 the period began with.
    targets, held = [0.4, 0.1, -0.4, -0.3], [0.2, 0.2, -0.2, 0.0]
    resting = {anchor: 1000, "equity": 1000 - lost, "current": held}
    assert after(rule, targets, **resting) == [0.2, 0.1, -0.2, 0.0]
    assert after(rule, targets, **(resting | {"equity": 1000.01 - lost})) == targets


def test_cooldown_allows_no_growth_after_a_stop() -> None:
    desk = desk_of([0.3, 0.1, -0.3, 0.3], current=[0.2, 0.2, 0, 0], cooldown=[3, 3, 1, 0])
    assert run("cooldown", desk) == [0.2, 0.1, 0.0, 0.3]
    assert cuts_of(desk) == [(0, "cooldown", 0.3, 0.2), (2, "cooldown", -0.3, 0.0)]


def test_what_hardly_trades_does_not_grow() -> None:
    # 100 x 499 is below 50,000.
    known = {"volume": [499, 500, 499], "risk": limited(minimum_turnover=50_000)}
    assert after("minimum_turnover", [0.3, 0.3, -0.3], current=[0, 0, -0.1], **known) == [0, 0.3, -0.1]  # fmt: skip


def test_what_hardly_moves_does_not_grow() -> None:
    # 5 % a year is 0.05 / sqrt(8760) = 0.000534 a bar.
    known = {"sigma": [0.00053, 0.00054, 0.00053], "risk": limited(minimum_volatility=0.05)}
    assert after("minimum_volatility", [0.3, 0.3, -0.3], **known) == [0.0, 0.3, 0.0]


def test_volatility_target_bounds_weight_times_sigma() -> None:
    # 0.3 a year is 0.3 / sqrt(8760) a bar; at 1 % a bar that is a weight of 0.3205.
    most = 0.3 / math.sqrt(8760) / 0.01
    assert most == pytest.approx(0.3205, abs=1e-4)
    sigma = [0.01, 0.01, 0.01, math.nan, 0.0]
    targets = [0.5, -0.5, 0.2, 0.2, -0.2]
    risk = limited(volatility_target=0.3)
    assert after("volatility_target", targets, sigma=sigma, current=[0, 0, 0, 0, -0.1], risk=risk) == [
        most, -most, 0.2, 0.0, -0.1,
    ]  # fmt: skip


def test_risk_per_trade_bounds_the_loss_at_the_stop() -> None:
    # 2 % of equity over a stop 10 % away is a weight of 0.2; without a stop nothing grows.
    assert after(
        "risk_per_trade",
        [0.5, -0.5, 0.5, 0.5],
        stop_fraction=[0.1, 0.1, 0.01, math.nan],
        current=[0, 0, 0, 0.3],
        risk=limited(risk_per_trade=0.02),
    ) == [pytest.approx(0.2), pytest.approx(-0.2), 0.5, 0.3]


def test_asset_cap_cuts_to_the_cap_and_leaves_the_frozen_alone() -> None:
    desk = desk_of(
        [2.8, 0.7, 0.4, -0.7],
        frozen=[False, True, False, False],
        risk=limited(max_asset_weight=0.4),
    )
    assert run("asset_cap", desk) == [0.4, 0.7, 0.4, -0.4]
    assert cuts_of(desk) == [(0, "asset_cap", 2.8, 0.4), (3, "asset_cap", -0.7, -0.4)]
    assert desk.ceiling.tolist() == [0.4, math.inf, 0.4, 0.4]


def test_a_book_in_drawdown_bets_half_and_has_half_its_limits() -> None:
    desk = desk_of([0.4, -0.2, 0.3], frozen=[False, False, True], ceiling=[0.4] * 3, equity=850)
    assert run("drawdown_size", desk) == [0.2, -0.1, 0.3]
    assert desk.ceiling.tolist() == [0.2, 0.2, 0.4]
    assert desk.scale[0] == 0.5
    assert after("drawdown_size", [0.4, -0.2], equity=850.01) == [0.4, -0.2]


def test_in_a_storm_across_the_market_the_book_bets_half() -> None:
    # log 2 = 0.693: the mean of 0.5 and 0.9 is above, that of 0.5, 0.9 and an unknown 0 is not.
    assert after("storm_size", [0.4, -0.2], stress=[0.5, 0.9]) == [0.2, -0.1]
    assert after("storm_size", [0.4, -0.2, 0.1], stress=[0.5, 0.9, math.nan]) == [0.4, -0.2, 0.1]
    # What has no bar says nothing.
    missing = {"close": [100.0, 100.0, math.nan], "frozen": [False, False, True]}
    assert after("storm_size", [0.4, -0.2, 0.1], stress=[0.5, 0.9, math.nan], **missing) == [
        0.2, -0.1, 0.1,
    ]  # fmt: skip


def test_a_new_book_trades_the_share_it_has_reached() -> None:
    ramp = limited(ramp_start=0.5, ramp_step=0.25)
    assert after("capital_ramp", [0.4, -0.2], risk=ramp) == [0.2, -0.1]
    assert after("capital_ramp", [0.4, -0.2], risk=ramp, ramp_steps=1) == [
        pytest.approx(0.3),
        pytest.approx(-0.15),
    ]
    assert after("capital_ramp", [0.4, -0.2], risk=ramp, ramp_steps=2) == [0.4, -0.2]


def test_no_trade_band_enters_only_for_more_than_the_round_trip_costs() -> None:
    # Going from 0 to 0.4 gains 0.4 (mu - 0.0018 x 0.4) of equity; its round trip costs 0.4 x 0.002.
    assert after("no_trade_band", [0.4, -0.4], edge=[0.0030, -0.0030]) == [0.4, -0.4]
    assert after("no_trade_band", [0.4, -0.4], edge=[0.0025, -0.0025]) == [0.0, 0.0]


def test_no_trade_band_counts_spread_slippage_and_the_fee_of_the_entrys_side() -> None:
    # A market entry: 2 x (0.001 + 0.0005 + 0.0005) = 0.004; a limit entry: 0.0002 + 0.002 = 0.0022.
    costs = COSTS.model_copy(
        update={"spread_rate": 0.001, "slippage_rate": 0.0005, "maker_fee_rate": 0.0002}
    )
    resting = costs.model_copy(update={"entry_order": "limit"})
    # The gain of the change is 0.4 (0.0040 - 0.00072), between both.
    assert after("no_trade_band", [0.4], edge=[0.0040], costs=costs) == [0.0]
    assert after("no_trade_band", [0.4], edge=[0.0040], costs=resting) == [0.4]


def test_no_trade_band_stays_in_where_it_would_not_have_entered() -> None:
    assert after("no_trade_band", [0.0, 0.0], current=[0.4, -0.4], edge=[0.0, 0.0]) == [0.4, -0.4]
    leave = {"current": [0.4, -0.4], "edge": [-0.0030, 0.0030]}
    assert after("no_trade_band", [0.0, 0.0], **leave) == [0.0, 0.0]


def test_no_trade_band_judges_a_smaller_book_by_its_smaller_kelly_fraction() -> None:
    # With half of the limits in force 0.2 is the best weight, and 0.4 is 0.2 x 0.2 x 0.0036 worse:
    # 0.000144 is not worth 0.2 x 0.002; with a tenth of the cost it is.
    half = {"current": [0.4], "edge": [0.00144], "scale": 0.5}
    assert after("no_trade_band", [0.2], **half) == [0.4]
    assert after("no_trade_band", [0.2], risk=limited(no_trade_band=0.1), **half) == [0.2]


def test_no_trade_band_closes_what_is_beyond_a_ceiling_whatever_it_costs() -> None:
    # The third and the last are beyond their ceiling by less than the minimum change.
    assert after(
        "no_trade_band",
        [0.2, 0.0, 0.195, -0.2, -0.195],
        current=[0.4, 0.4, 0.2, -0.4, -0.2],
        edge=[0.05, 0.0, 0.05, -0.05, -0.05],
        ceiling=[0.2, 0.3, 0.195, 0.2, 0.195],
    ) == [0.2, 0.3, 0.2, -0.2, -0.2]


def test_no_trade_band_ignores_small_changes_but_closes_small_positions() -> None:
    assert after("no_trade_band", [0.105, 0.0, -0.105], current=[0.1, 0.005, -0.1]) == [0.1, 0, -0.1]  # fmt: skip


def test_position_cap_lets_newcomers_give_way_first_and_then_the_weakest() -> None:
    two = limited(max_positions=2)
    known = {"current": [0, 0, 0.1, 0], "desired": [3, 1, 0.5, -2]}
    assert after("position_cap", [0.4, 0.4, 0.4, -0.4], risk=two, **known) == [0.4, 0.0, 0.4, 0.0]
    shorts = {"current": [0, -0.1, 0, 0], "desired": [-1, -1, 2, 1]}
    assert after("position_cap", [-0.4, -0.4, 0.4, 0.4], risk=two, **shorts) == [0, -0.4, 0.4, 0]


def test_position_cap_counts_what_is_frozen() -> None:
    known = {"current": [-0.4, 0.0], "frozen": [True, False], "risk": limited(max_positions=1)}
    assert after("position_cap", [-0.4, 0.4], **known) == [-0.4, 0.0]


def test_portfolio_heat_counts_what_is_held_by_its_stop_and_shares_the_rest() -> None:
    # 0.4 held 5 % above its stop is 0.02; the other two want 0.4 x 0.1 each, and share 0.04.
    known = {
        "current": [0.4, 0, 0],
        "stop": [95, 0, 0],
        "stop_fraction": [0.3, 0.1, 0.1],
        "risk": limited(max_portfolio_heat=0.06),
    }
    half = pytest.approx(0.2)
    assert after("portfolio_heat", [0.4, 0.4, 0.4], **known) == [0.4, half, half]
    assert after("portfolio_heat", [0.4, 0.4, -0.4], **known) == [0.4, half, pytest.approx(-0.2)]
    assert after("portfolio_heat", [0.4, 0.3, 0.05], **known) == [0.4, 0.3, 0.05]


def test_portfolio_heat_of_a_short_is_its_way_up_to_the_nearer_stop() -> None:
    # 0.4 short, stops at 120 and trailing at 110: 0.04; 0.02 is left for 0.4 x 0.1.
    known = {
        "current": [-0.4, 0],
        "stop": [120, 0],
        "trail": [110, 0],
        "stop_fraction": [0.1, 0.1],
        "risk": limited(max_portfolio_heat=0.06),
    }
    assert after("portfolio_heat", [-0.4, -0.4], **known) == [-0.4, pytest.approx(-0.2)]


def test_portfolio_heat_sells_nothing_for_having_run_away_from_its_stop() -> None:
    known = {
        "current": [0.4, 0, 0.1],
        "stop": [50, 0, 90],
        "risk": limited(max_portfolio_heat=0.06),
    }
    assert after("portfolio_heat", [0.4, 0.1, 0.2], **known) == [0.4, 0.0, 0.1]


def test_correlation_limit_lets_what_moves_with_bitcoin_grow_to_its_limit_only() -> None:
    # 0.4 held; 0.4 x 0.5 and 0.4 of an unknown correlation want 0.6 and share 0.4.
    known = {
        "current": [0.4, 0, 0],
        "correlation": [1.0, 0.5, math.nan],
        "risk": limited(max_correlated_weight=0.8),
    }
    share = pytest.approx(0.4 * 2 / 3)
    assert after("correlation_limit", [0.4, 0.4, 0.4], **known) == [0.4, share, share]


def test_correlation_limit_holds_shorts_against_longs_that_are_held_but_not_wished_for() -> None:
    risk = limited(max_correlated_weight=0.5)
    # A held short makes room for longs; a wish to be short makes none.
    assert after("correlation_limit", [-0.3, 0.8], current=[-0.3, 0], risk=risk) == [-0.3, 0.8]
    assert after("correlation_limit", [-0.3, 0.8], risk=risk) == [-0.3, pytest.approx(0.5)]
    assert after("correlation_limit", [-0.8, -0.2], current=[-0.8, 0], risk=risk) == [-0.8, 0.0]


def test_gross_cap_keeps_what_is_held_and_shares_the_rest() -> None:
    third = pytest.approx(0.3)
    known = {"current": [0.4, 0.0, 0.0], "risk": limited(max_gross_weight=1.0)}
    assert after("gross_cap", [0.4, 0.4, 0.4], **known) == [0.4, third, third]
    assert after("gross_cap", [0.4, 0.4, -0.4], **known) == [0.4, third, pytest.approx(-0.3)]


def test_gross_cap_scales_what_is_held_only_if_that_is_itself_too_much() -> None:
    half = limited(max_gross_weight=0.5)
    quarter = [pytest.approx(0.25), pytest.approx(-0.25)]
    assert after("gross_cap", [0.4, -0.4], current=[0.4, -0.4], risk=half) == quarter
    # By less than the minimum change it is left alone, and nothing is added.
    assert after("gross_cap", [0.4, 0.2], current=[0.4, 0.105], risk=half) == [0.4, 0.105]


def test_gross_cap_makes_no_growth_too_small_to_be_worth_an_order() -> None:
    known = {"current": [0.995, 0.0], "risk": limited(max_gross_weight=1.0)}
    assert after("gross_cap", [0.995, 0.4], **known) == [0.995, 0.0]


@pytest.mark.parametrize("rule", SHARING)
def test_the_caps_on_the_book_shrink_with_the_share_of_limits_in_force(rule: str) -> None:
    # Each allows 0.2 of one symbol in a whole book, 0.1 in half a book.
    risk = limited(max_gross_weight=0.2, max_correlated_weight=0.2, max_portfolio_heat=0.01)
    assert after(rule, [-0.3], risk=risk) == [pytest.approx(-0.2)]
    assert after(rule, [-0.3], risk=risk, scale=0.5) == [pytest.approx(-0.1)]


# What every rule promises, on random books.


def random_desk(seed: int) -> Desk:
    """A book somewhere: longs, shorts, missing bars, unscored symbols, unknown numbers."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))

    def some(values: np.ndarray, share: float, other: float) -> np.ndarray:
        return np.where(rng.random(n) < share, other, values)

    def often(usual: float, *rare: float) -> float:
        return usual if rng.random() < 0.75 else float(rng.choice(rare))

    close = some(np.exp(rng.normal(4, 0.3, n)), 0.1, math.nan)
    desired = some(some(rng.normal(0.1, 0.5, n), 0.1, math.nan), 0.1, 0.0)
    current = some(rng.normal(0, 0.8 / n, n), 0.4, 0.0)
    frozen = np.isnan(close) | np.isnan(desired)
    risk = RiskConfig(
        allow_shorts=bool(rng.random() < 0.8),
        max_positions=int(rng.integers(1, 6)),
        max_gross_weight=float(rng.choice([0.3, 1.0])),
        max_correlated_weight=float(rng.choice([0.2, 0.8])),
        max_portfolio_heat=float(rng.choice([0.01, 0.06])),
        no_trade_band=float(rng.choice([0.0, 1.0])),
        minimum_weight_change=float(rng.choice([0.0, 0.01, 0.1])),
        minimum_turnover=float(rng.choice([0.0, 1e6])),
        max_holding_bars=int(rng.choice([0, 4])),
        ramp_start=float(rng.choice([0.5, 1.0])),
        reduced_size=float(rng.choice([0.5, 0.9])),
    )
    costs = CostConfig(
        slippage_model="fixed", entry_order=str(rng.choice(["market", "limit", "stop"]))
    )
    last_close = np.where(np.isnan(close), 50.0, close)
    return desk_of(
        np.where(frozen, current, desired).tolist(),
        risk=risk,
        costs=costs,
        close=close,
        volume=rng.exponential(1e5, n),
        contract=rng.random(n) < 0.8,
        desired=desired,
        edge=some(rng.normal(0, 0.02, n), 0.3, math.nan),
        variance=np.full(n, 9e-4),
        sigma=some(np.abs(rng.normal(0.01, 0.01, n)), 0.1, math.nan),
        stop_fraction=some(np.abs(rng.normal(0.03, 0.02, n)), 0.1, math.nan),
        correlation=some(rng.uniform(-0.5, 1, n), 0.2, math.nan),
        stress=some(rng.normal(often(0.0, 0.7), 0.3, n), 0.2, math.nan),
        current=current,
        frozen=frozen,
        age=rng.integers(0, 6, n),
        cooldown=rng.choice([0, 0, 3], n),
        stop=some(last_close * (1 - np.sign(current) * rng.uniform(-0.02, 0.3, n)), 0.2, 0.0),
        trail=some(last_close * (1 - np.sign(current) * rng.uniform(-0.02, 0.3, n)), 0.6, 0.0),
        last_close=last_close,
        equity=often(1000, 950, 840, 740),
        day=often(1000, 1060),
        week=often(1000, 1200),
        month=often(1000, 1300),
        halted=often(0, 0, 0, 1),
        ramp_steps=int(rng.integers(0, 3)),
        mode=int(often(RUN, RUN, PAUSE, LIQUIDATE)),
    )


def sight_of(desk: Desk) -> rules_twin.Sight:
    """What the twin sees of the same book."""
    state, limits = desk.state, desk.limits
    market = {name: getattr(desk.market, name)[0].tolist() for name in ("close", "volume")}
    signals = {name: getattr(desk.signals, name)[0].tolist() for name in Signals._fields}
    money = {name: int(state.money[i]) for i, name in ((EQUITY, "equity"), (PEAK, "peak"), (DAY, "day"), (WEEK, "week"), (MONTH, "month"))}  # fmt: skip
    held = {name: getattr(state, name).tolist() for name in ("age", "cooldown", "stop", "trail", "last_close")}  # fmt: skip
    asked = {name: getattr(desk, name).tolist() for name in ("current", "targets", "frozen", "ceiling")}  # fmt: skip
    return rules_twin.Sight(
        limits=limits,
        contract=desk.market.contract.tolist(),
        halted=bool(state.conduct[HALTED]),
        ramp_steps=int(state.conduct[RAMP_STEPS]),
        fee_tier=int(state.conduct[FEE_TIER]),
        mode=int(desk.controls.mode[0]),
        slippage=lambda symbol, size: limits.slippage_rate,
        scale=float(desk.scale[0]),
        **market, **signals, **money, **held, **asked,
    )  # fmt: skip


seeds = st.integers(0, 2**32 - 1)
every_rule = pytest.mark.parametrize("rule", IN_ORDER)


@every_rule
@settings(max_examples=150)
@given(seed=seeds)
def test_a_rule_equals_its_twin(rule: str, seed: int) -> None:
    desk = random_desk(seed)
    sight = sight_of(desk)
    run(rule, desk)
    getattr(rules_twin, rule)(sight)
    assert_same(desk, sight)


@settings(max_examples=300)
@given(seed=seeds)
def test_all_rules_in_order_equal_their_twins(seed: int) -> None:
    desk = random_desk(seed)
    sight = sight_of(desk)
    run_all(desk)
    rules_twin.apply_rules(sight)
    assert_same(desk, sight)


def assert_same(desk: Desk, sight: rules_twin.Sight) -> None:
    assert desk.targets.tolist() == sight.targets
    assert sorted(cuts_of(desk)) == sorted(sight.cuts)
    assert [names.cause_of(rule) for rule in desk.cause.tolist()] == sight.cause
    assert desk.frozen.tolist() == sight.frozen
    assert desk.ceiling.tolist() == sight.ceiling
    assert desk.scale[0] == sight.scale
    assert bool(desk.state.conduct[HALTED]) == sight.halted


@every_rule
@settings(max_examples=50)
@given(seed=seeds)
def test_a_rule_only_shrinks(rule: str, seed: int) -> None:
    desk = random_desk(seed)
    before = desk.targets.tolist()
    for asked, allowed, held in zip(before, run(rule, desk), desk.current.tolist(), strict=True):
        if rule == "no_trade_band":
            assert min(asked, held) <= allowed <= max(asked, held)
        else:
            assert abs(allowed) <= abs(asked)
            assert allowed * asked >= 0


@every_rule
@settings(max_examples=50)
@given(seed=seeds)
def test_a_rule_does_not_touch_what_is_frozen(rule: str, seed: int) -> None:
    desk = random_desk(seed)
    before, frozen = desk.targets.tolist(), desk.frozen.tolist()
    present = (desk.market.close[0] > 0).tolist()
    for s, allowed in enumerate(run(rule, desk)):
        if frozen[s] and allowed != before[s]:
            assert rule in CLOSERS
            assert present[s]
            assert allowed == 0.0


@every_rule
@settings(max_examples=50)
@given(seed=seeds)
def test_a_rule_writes_down_what_it_cut_and_nothing_else(rule: str, seed: int) -> None:
    desk = random_desk(seed)
    before = desk.targets.tolist()
    changed = [
        (s, rule, asked, allowed)
        for s, (asked, allowed) in enumerate(zip(before, run(rule, desk), strict=True))
        if asked != allowed
    ]
    assert sorted(cuts_of(desk)) == changed
    causes = {s: names.cause_of(cause) for s, cause in enumerate(desk.cause.tolist())}
    cut = {s for s, *_ in changed}
    assert causes == {s: rule if s in cut else "signal" for s in causes}


@pytest.mark.parametrize("rule", [rule for rule in IN_ORDER if rule not in SHARES])
@settings(max_examples=50)
@given(seed=seeds)
def test_a_rule_applied_twice_is_applied_once_but_for_the_shares_of_the_book(
    rule: str, seed: int
) -> None:
    desk = random_desk(seed)
    once = run(rule, desk)
    # Rules that share out a room may find the last bit of it overdrawn.
    assert run(rule, desk) == (pytest.approx(once, abs=1e-12) if rule in SHARING else once)


@settings(max_examples=300)
@given(seed=seeds)
def test_after_all_rules_every_limit_holds(seed: int) -> None:
    desk = random_desk(seed)
    run_all(desk)
    book, limits = sight_of(desk), desk.limits
    free, tiny = book.free, 1e-12
    # Kept by the band: within the minimum change.
    slack = limits.minimum_weight_change + tiny
    for s in free:
        size = abs(book.targets[s])
        assert size <= limits.max_asset_weight * book.scale + slack
        if book.sigma[s] > 0:
            assert size * book.sigma[s] <= limits.bar_volatility_target * book.scale + slack * book.sigma[s]  # fmt: skip
        if book.stop_fraction[s] > 0:
            assert size * book.stop_fraction[s] <= limits.risk_per_trade * book.scale + slack * book.stop_fraction[s]  # fmt: skip
        assert book.targets[s] >= 0 or (limits.allow_shorts and book.contract[s]) or book.growth(s) == 0  # fmt: skip
    fixed = [book.targets[s] for s in book.symbols if book.frozen[s]]
    positions = sum(weight != 0 for weight in book.targets)
    assert positions <= max(limits.max_positions, sum(weight != 0 for weight in fixed))
    gross = sum(abs(weight) for weight in book.targets)
    assert gross <= max(limits.max_gross_weight * book.scale, sum(map(abs, fixed))) + slack
    # What is held already forces no sale; it may be all there is.
    held = sum(abs(book.held(s)) * rules_twin.stop_distance(book, s) for s in book.symbols)
    heat = held + sum(
        abs(book.growth(s)) * (book.stop_fraction[s] if book.stop_fraction[s] > 0 else 1.0)
        for s in book.symbols
    )
    assert heat <= max(limits.max_portfolio_heat * book.scale, held) + tiny
    rho = [rules_twin.with_bitcoin(book, s) for s in book.symbols]
    kept = abs(sum(book.held(s) * rho[s] for s in book.symbols))
    moved = abs(sum(book.targets[s] * rho[s] for s in book.symbols))
    assert moved <= max(limits.max_correlated_weight * book.scale, kept) + tiny


@settings(max_examples=100)
@given(seed=seeds, order=st.permutations(NO_GROWTH + SIZES))
def test_the_rules_of_one_symbol_leave_the_same_in_any_order(seed: int, order: list[str]) -> None:
    usual, other = random_desk(seed), random_desk(seed)
    assert run_all(usual, NO_GROWTH + SIZES) == run_all(other, order)
    assert usual.ceiling.tolist() == other.ceiling.tolist()


@settings(max_examples=100)
@given(seed=seeds)
def test_the_shares_of_the_book_leave_the_same_in_any_order(seed: int) -> None:
    for order in itertools.permutations(SHARES):
        usual, other = random_desk(seed), random_desk(seed)
        assert run_all(usual, SHARES) == pytest.approx(run_all(other, order), rel=1e-14)
        assert usual.scale[0] == pytest.approx(other.scale[0], rel=1e-14)


# What is written of them.


def rules_in(folder: Path) -> set[str]:
    """Public functions of (bar, desk) in the files of a folder."""
    found = set()
    for file in folder.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and [a.arg for a in node.args.args] == ["bar", "desk"]:  # fmt: skip
                found.add(node.name)
    return found


def test_every_rule_in_the_folder_is_named_and_applied_and_counted_in_order(tmp_path: Path) -> None:
    folder = Path(rules.__file__).parent
    assert rules_in(folder) - {"apply_rules"} == set(IN_ORDER)
    body = ast.parse(inspect.getsource(rules.apply_rules.py_func)).body[0].body[1:]
    assert [ast.unparse(line) for line in body] == [
        line
        for rule in IN_ORDER
        for line in (
            f"{rule}(bar, desk)",
            f"count_changes(FIRST_RULE_STAGE + {rule.upper()}, desk)",
        )
    ]
    assert [getattr(names, rule.upper()) for rule in RULES] == list(range(len(RULES)))
    assert new_tape(1, 1, recording=True).stages.shape[0] == FIRST_RULE_STAGE + len(RULES)
    (tmp_path / "forgotten.py").write_text("def forgotten(bar: int, desk: Desk) -> None: ...")
    assert rules_in(tmp_path) == {"forgotten"}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_reason_that_names_the_key_that_sets_it(rule: str) -> None:
    risk = RiskConfig(max_asset_weight=0.33, max_positions=7, daily_loss_limit=0.0375)
    limits: Limits = limits_of(COSTS, risk, timedelta(hours=1))
    reasons = [reason_of(number, limits) for number in range(len(RULES))]
    assert len(set(reasons)) == len(RULES)
    reason = reasons[RULES.index(rule)]
    assert KEYS.get(rule, rule) in reason
    bounds = {"asset_cap": "0.33", "position_cap": "7", "daily_loss": "0.0375"}
    assert bounds.get(rule, "") in reason
    assert ("share of limits in force" in reason) == (rule in SHARING)


def test_what_no_rule_shaped_was_shaped_by_the_signal() -> None:
    desk = desk_of([0.5, 0.1], risk=limited(max_asset_weight=0.4))
    run("asset_cap", desk)
    assert [names.cause_of(cause) for cause in desk.cause.tolist()] == ["asset_cap", "signal"]
