"""Every rule by itself, and what all of them promise together."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import CostConfig, RiskConfig
from serving.controls import no_controls
from serving.desk import Desk, new_desk
from serving.limits import limits_of
from serving.market import Market
from serving.risk.asset_cap import asset_cap
from serving.risk.cooldown import cooldown
from serving.risk.gross_cap import gross_cap
from serving.risk.holding_period import holding_period
from serving.risk.long_only import long_only
from serving.risk.names import RULES, reason_of
from serving.risk.no_trade_band import no_trade_band
from serving.risk.position_cap import position_cap
from serving.risk.risk_per_trade import risk_per_trade
from serving.risk.rules import apply_rules
from serving.risk.volatility_target import volatility_target
from serving.signals import Signals
from serving.state import EQUITY, SCALE, new_state
from serving.tape import CUTS, new_tape

RULE_FUNCTIONS = (
    long_only, holding_period, cooldown, volatility_target, risk_per_trade, asset_cap,
    no_trade_band, position_cap, gross_cap,
)  # fmt: skip
RISK = RiskConfig(no_trade_band=1.0, minimum_weight_change=0.01)
NO_COSTS = CostConfig(
    slippage_model="fixed", slippage_rate=0.0, spread_rate=0.0, taker_fee_rate=0.001
)


def desk_of(targets, *, current=None, frozen=None, risk=RISK, costs=NO_COSTS, **known) -> Desk:
    """A desk at one close: prices 100, equity 1000; `known` gives signals as lists."""
    n = len(targets)
    row = lambda name, value: np.array([known.get(name, [value] * n)], np.float64)  # noqa: E731
    prices = np.full((1, n), 100.0)
    market = Market(
        prices, prices, prices, prices, np.full((1, n), 1e6), np.zeros((1, n)),
        np.ones(n, np.int64), np.zeros(n), np.zeros(n, np.int64),
        np.zeros(n, np.bool_), np.zeros(1, np.int64),
    )  # fmt: skip
    signals = Signals(
        row("desired", 0.0) if "desired" in known else np.array([targets], np.float64),
        row("edge", np.nan),
        row("variance", 9e-4),
        row("sigma", 1e-6),
        row("stop_fraction", 1e-6),
        row("correlation", np.nan),
        row("stress", np.nan),
    )
    state = new_state(n, 1000)
    state.cooldown[:] = known.get("cooldown", [0] * n)
    state.age[:] = known.get("age", [0] * n)
    limits = limits_of(costs, risk, timedelta(hours=1))
    desk = new_desk(market, signals, no_controls(1), state, limits, new_tape(1, n, recording=True))
    desk.targets[:] = targets
    desk.current[:] = current or [0.0] * n
    desk.frozen[:] = frozen or [False] * n
    return desk


def cuts_of(desk: Desk) -> list[tuple]:
    return [
        (RULES[rule], s, asked, allowed)
        for _, s, rule, asked, allowed in desk.tape.cuts[: desk.tape.used[CUTS]].tolist()
    ]


def after(rule, desk: Desk) -> list[float]:
    rule(0, desk)
    return desk.targets.tolist()


def test_long_only_cuts_shorts_to_zero() -> None:
    desk = desk_of([-0.3, 0.2])
    assert after(long_only, desk) == [0.0, 0.2]
    assert cuts_of(desk) == [("long_only", 0, -0.3, 0.0)]


def test_holding_period_closes_what_is_old_even_if_it_is_not_scored() -> None:
    risk = RISK.model_copy(update={"max_holding_bars": 5})
    desk = desk_of([0.3, 0.2, 0.1], frozen=[True, False, False], age=[5, 5, 4], risk=risk)
    assert after(holding_period, desk) == [0.0, 0.0, 0.1]
    assert desk.frozen.tolist() == [True, True, False]


def test_cooldown_allows_no_growth_after_a_stop() -> None:
    desk = desk_of([0.3, 0.1], current=[0.2, 0.2], cooldown=[3, 3])
    assert after(cooldown, desk) == [0.2, 0.1]


def test_volatility_target_bounds_weight_times_sigma() -> None:
    risk = RISK.model_copy(update={"volatility_target": 0.3})
    # 0.3 a year is 0.3 / sqrt(8760) a bar; at 1 % a bar that is a weight of 0.3205.
    desk = desk_of([0.5, 0.2, 0.2], sigma=[0.01, 0.01, np.nan], risk=risk)
    assert after(volatility_target, desk) == [pytest.approx(0.3205304, abs=1e-6), 0.2, 0.0]


def test_risk_per_trade_bounds_the_loss_at_the_stop() -> None:
    desk = desk_of([0.5, 0.5, 0.5], stop_fraction=[0.1, 0.01, np.nan], current=[0.0, 0.0, 0.3])
    # 2 % of equity over a stop 10 % away is a weight of 0.2; without a stop nothing grows.
    assert after(risk_per_trade, desk) == [pytest.approx(0.2), 0.5, 0.3]


def test_asset_cap_cuts_to_the_cap_and_leaves_the_frozen_alone() -> None:
    desk = desk_of([2.8, 0.7, 0.4], frozen=[False, True, False])
    assert after(asset_cap, desk) == [0.4, 0.7, 0.4]
    assert cuts_of(desk) == [("asset_cap", 0, 2.8, 0.4)]


def test_position_cap_lets_newcomers_give_way_first_and_then_the_weakest() -> None:
    risk = RISK.model_copy(update={"max_positions": 2})
    desk = desk_of([0.4, 0.4, 0.4, 0.4], current=[0, 0, 0.1, 0], desired=[3, 1, 0.5, 2], risk=risk)
    assert after(position_cap, desk) == [0.4, 0.0, 0.4, 0.0]


def test_position_cap_counts_what_is_frozen() -> None:
    risk = RISK.model_copy(update={"max_positions": 1})
    desk = desk_of([0.4, 0.4], current=[0.4, 0.0], frozen=[True, False], risk=risk)
    assert after(position_cap, desk) == [0.4, 0.0]


def test_gross_cap_keeps_what_is_held_and_shares_the_rest() -> None:
    desk = desk_of([0.4, 0.4, 0.4], current=[0.4, 0.0, 0.0])
    assert after(gross_cap, desk) == [0.4, pytest.approx(0.3), pytest.approx(0.3)]


def test_gross_cap_scales_what_is_held_only_if_that_is_itself_too_much() -> None:
    risk = RISK.model_copy(update={"max_gross_weight": 0.5})
    desk = desk_of([0.4, 0.4], current=[0.4, 0.4], risk=risk)
    assert after(gross_cap, desk) == [pytest.approx(0.25), pytest.approx(0.25)]


def test_gross_cap_makes_no_increase_too_small_to_be_worth_an_order() -> None:
    desk = desk_of([0.995, 0.4], current=[0.995, 0.0])
    assert after(gross_cap, desk) == [0.995, 0.0]


def test_no_trade_band_enters_only_for_more_than_the_round_trip_costs() -> None:
    # Round trip 0.2 %; the gain of going from 0 to 0.4 is 0.4 (mu - 0.0018 x 0.4) a unit of equity.
    worth = desk_of([0.4], edge=[0.0030])
    not_worth = desk_of([0.4], edge=[0.0025])
    assert after(no_trade_band, worth) == [0.4]
    assert after(no_trade_band, not_worth) == [0.0]


def test_no_trade_band_stays_in_where_it_would_not_have_entered() -> None:
    held = desk_of([0.0], current=[0.4], desired=[0.0], edge=[0.0])
    assert after(no_trade_band, held) == [0.4]
    leave = desk_of([0.0], current=[0.4], desired=[-1.0], edge=[-0.0030])
    assert after(no_trade_band, leave) == [0.0]


def test_no_trade_band_sells_what_is_beyond_a_ceiling_whatever_it_costs() -> None:
    desk = desk_of([0.2, 0.0, 0.195], current=[0.4, 0.4, 0.2], edge=[0.05, 0.0, 0.05])
    desk.ceiling[:] = [0.2, 0.3, 0.195]
    # The third is beyond its ceiling by less than the minimum change.
    assert after(no_trade_band, desk) == [0.2, 0.3, 0.2]


def test_no_trade_band_ignores_small_changes_but_closes_small_positions() -> None:
    desk = desk_of([0.105, 0.0], current=[0.1, 0.005])
    assert after(no_trade_band, desk) == [0.1, 0.0]


def test_every_rule_has_a_reason_a_person_can_read() -> None:
    limits = desk_of([0.1]).limits
    reasons = [reason_of(rule, limits) for rule in range(len(RULES))]
    assert len(set(reasons)) == len(RULES)
    assert "max_asset_weight" in reasons[RULES.index("asset_cap")]


weights = st.lists(st.floats(-1, 3), min_size=1, max_size=6)


@settings(max_examples=300)
@given(weights, st.data())
def test_every_rule_only_shrinks_and_records_what_it_cut(targets: list[float], data) -> None:
    n = len(targets)
    draw = lambda strategy: data.draw(st.lists(strategy, min_size=n, max_size=n))  # noqa: E731
    current, edges = draw(st.floats(0, 0.5)), draw(st.floats(-0.05, 0.05))
    frozen = draw(st.booleans())
    for rule in RULE_FUNCTIONS:
        asked = targets if rule is long_only else [abs(w) for w in targets]
        risk = RISK.model_copy(update={"max_holding_bars": 4, "max_positions": 2})
        desk = desk_of(
            asked, current=current, frozen=frozen, risk=risk, edge=edges,
            sigma=draw(st.floats(0, 0.1)), stop_fraction=draw(st.floats(0, 0.2)),
            age=draw(st.integers(0, 6)), cooldown=draw(st.integers(0, 2)),
        )  # fmt: skip
        allowed = after(rule, desk)
        for before, now, held, still in zip(asked, allowed, current, frozen, strict=True):
            if rule is no_trade_band:
                assert min(before, held) <= now <= max(before, held)
            else:
                assert abs(now) <= abs(before)
                assert now * before >= 0
            if still and rule is not holding_period:
                assert now == before
        changed = {s for s in range(n) if asked[s] != allowed[s]}
        assert {s for _, s, _, _ in cuts_of(desk)} == changed


@settings(max_examples=300)
@given(weights, st.data())
def test_after_all_rules_the_limits_hold(targets: list[float], data) -> None:
    n = len(targets)
    draw = lambda strategy: data.draw(st.lists(strategy, min_size=n, max_size=n))  # noqa: E731
    current = [w / n for w in draw(st.floats(0, 0.4))]
    desk = desk_of(targets, current=current, edge=draw(st.floats(-0.05, 0.05)),
                   sigma=draw(st.floats(0.001, 0.1)), stop_fraction=draw(st.floats(0.001, 0.2)))  # fmt: skip
    apply_rules(0, desk)
    limits, drift = desk.limits, RISK.minimum_weight_change
    assert sum(desk.targets) <= max(limits.max_gross_weight, 0) + 1e-12
    assert sum(w > 0 for w in desk.targets) <= limits.max_positions
    for s, weight in enumerate(desk.targets):
        assert 0 <= weight <= limits.max_asset_weight + drift
        ceiling = min(
            limits.bar_volatility_target / desk.signals.sigma[0, s],
            limits.risk_per_trade / desk.signals.stop_fraction[0, s],
        )
        assert weight <= ceiling * (1 + 1e-9) + drift


def test_the_equity_a_rule_sees_is_the_one_of_the_mark() -> None:
    assert desk_of([0.1]).state.money[EQUITY] == 1000 * SCALE
