"""What a close does to a book: funding, anchors, fee tiers, the capital ramp, a person's resume."""

import numpy as np
import pytest
from one_symbol import CALM, NAN, walk, with_costs, with_risk

from serving.config import FeeTier
from serving.controls import RUN, Controls
from serving.market import NEW_DAY, NEW_MONTH, NEW_WEEK
from serving.state import (
    CASH,
    DAY,
    EQUITY,
    FEE_TIER,
    FUNDING,
    HALTED,
    MONTH,
    PEAK,
    RAMP_STEPS,
    SCALE,
    WEEK,
    new_state,
)

RISE, FALL = (100.0, 110.0, 99.0, 110.0, 1e6), (110.0, 111.0, 104.0, 105.0, 1e6)


def test_longs_pay_a_positive_rate_and_shorts_receive_it() -> None:
    paid = {}
    for side in (0.5, -0.5):
        risk = with_risk(allow_shorts=True)
        state, _, fills = walk(
            [CALM, CALM], [side, NAN], funding=[0.0, 0.001], risk=risk, contract=True
        )
        assert fills[1][1] == "funding"
        paid[side] = state.money[FUNDING] / SCALE
    assert paid == {0.5: 0.5, -0.5: -0.5}


def test_funding_is_not_paid_where_the_bar_is_missing() -> None:
    state, _, fills = walk([CALM, CALM, None], [0.5, NAN, NAN], funding=[0.0, 0.0, 0.001])
    assert len(fills) == 1
    assert state.money[FUNDING] == 0


@pytest.mark.parametrize(
    ("begins", "moved"),
    [
        (NEW_DAY, [DAY]),
        (NEW_DAY + NEW_WEEK, [DAY, WEEK]),
        (NEW_DAY + NEW_WEEK + NEW_MONTH, [DAY, WEEK, MONTH]),
    ],
)
def test_day_week_and_month_start_at_the_equity_of_their_midnight(begins, moved) -> None:
    state, tape, _ = walk([CALM, RISE, FALL], [0.5, NAN, NAN], calendar=[0, begins, 0])
    midnight = tape.curve[1, 0]
    assert midnight > 1000 * SCALE
    for anchor in (DAY, WEEK, MONTH):
        assert state.money[anchor] == (midnight if anchor in moved else 1000 * SCALE)
    assert state.money[EQUITY] < state.money[PEAK] == midnight


def test_a_fee_tier_begins_at_the_midnight_after_it_was_reached() -> None:
    costs = with_costs(
        fee_tiers=(FeeTier(traded_30_days=500, maker_fee_rate=0.0, taker_fee_rate=0.0002),)
    )
    bars, desired = [CALM] * 6, [0.5, 0.4, 0.3, 0.2, 0.1, NAN]
    state, tape, _ = walk(bars, desired, costs=costs, calendar=[0, 0, 0, 1, 0, 0])
    rates = tape.fills["fee"][:5] / tape.fills["notional"][:5]
    # Bought 500.5 in bar 1: the tier holds from the close of bar 3, so from the open of bar 4.
    assert rates == pytest.approx([0.001, 0.001, 0.001, 0.0002, 0.0002], rel=1e-6)
    assert state.conduct[FEE_TIER] == 1
    assert state.volume_days[0] == tape.fills["notional"][3:5].sum()
    assert state.volume_days[1] == tape.fills["notional"][:3].sum()


def test_turnover_of_more_than_thirty_days_ago_no_longer_counts() -> None:
    costs = with_costs(
        fee_tiers=(FeeTier(traded_30_days=500, maker_fee_rate=0.0, taker_fee_rate=0.0),)
    )
    for days, tier in ((30, 1), (31, 0)):
        state, _, _ = walk(
            [CALM] * (days + 1), [0.5] + [NAN] * days, costs=costs, calendar=[0] + [1] * days
        )
        assert state.conduct[FEE_TIER] == tier


def test_the_ramp_climbs_on_evidence_and_starts_its_record_anew() -> None:
    risk = with_risk(ramp_start=0.5, ramp_step=0.25, ramp_bars=4, ramp_confidence=0.5)
    up = [CALM, CALM, *((100.0, 110.0 + i, 99.0, 100.0 + i, 1e6) for i in (1, 3, 4))]
    state, _, _ = walk(up, [0.5] + [NAN] * 4, risk=risk, calendar=[0, 0, 0, 0, 1])
    assert state.conduct[RAMP_STEPS] == 1
    assert state.track.tolist() == [0.0, 0.0, 0.0]


def test_the_ramp_waits_for_its_bars_for_midnight_and_for_a_gain() -> None:
    risk = with_risk(ramp_start=0.5, ramp_step=0.25, ramp_bars=4, ramp_confidence=0.5)
    up = [CALM, CALM, *((100.0, 110.0 + i, 99.0, 100.0 + i, 1e6) for i in (1, 3, 4))]
    desired = [0.5] + [NAN] * 4
    early, _, _ = walk(up[:3], desired[:3], risk=risk, calendar=[0, 0, 1])
    by_day, _, _ = walk(up, desired, risk=risk)
    down = [CALM, CALM, *((100.0, 101.0, 97.0, 100.0 - i, 1e6) for i in (1, 2, 3))]
    losing, _, _ = walk(down, desired, risk=risk, calendar=[0, 0, 0, 0, 1])
    assert [s.conduct[RAMP_STEPS] for s in (early, by_day, losing)] == [0, 0, 0]
    assert losing.track[0] == 5.0


def test_a_ramp_that_is_up_climbs_no_further() -> None:
    up = [CALM, CALM, *((100.0, 110.0 + i, 99.0, 100.0 + i, 1e6) for i in (1, 3, 4))]
    risk = with_risk(ramp_start=1.0, ramp_bars=4, ramp_confidence=0.5)
    state, _, _ = walk(up, [0.5] + [NAN] * 4, risk=risk, calendar=[0, 0, 0, 0, 1])
    assert state.conduct[RAMP_STEPS] == 0


def test_resuming_lifts_the_halt_and_starts_the_peak_anew() -> None:
    halted = new_state(1, 1000)
    halted.conduct[HALTED] = 1
    halted.money[PEAK] = 5000 * SCALE
    modes = np.full(2, RUN)
    state, _, fills = walk(
        [CALM, CALM],
        [0.5, NAN],
        state=halted,
        controls=Controls(modes, np.array([True, False]), np.zeros(2, np.bool_)),
    )
    assert state.conduct[HALTED] == 0
    assert state.money[PEAK] == 1000 * SCALE
    assert [f[:2] for f in fills] == [(1, "market")]


def test_a_model_that_becomes_champion_earns_its_capital_anew() -> None:
    climbed = new_state(1, 1000)
    climbed.conduct[RAMP_STEPS] = 2
    climbed.track[:] = (40.0, 0.2, 0.1)
    restaged = np.array([True, False])
    controls = Controls(np.full(2, RUN), np.zeros(2, np.bool_), restaged)
    state, _, _ = walk([CALM, CALM], [0.5, NAN], state=climbed, controls=controls)
    assert state.conduct[RAMP_STEPS] == 0
    assert state.track[0] == 1.0


def test_a_bankrupt_book_makes_no_more_orders() -> None:
    risk = with_risk(allow_shorts=True)
    moon = (900.0, 900.0, 900.0, 900.0, 0.0)
    state, tape, fills = walk(
        [CALM, CALM, moon, moon], [-0.9, NAN, -0.9, -0.9], risk=risk, contract=True
    )
    assert state.money[EQUITY] < 0
    assert state.money[CASH] > 0
    assert len(fills) == 1
    assert np.isnan(tape.targets[2:]).all()
