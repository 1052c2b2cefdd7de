"""Market, limit and stop entries, long and short, and what they are allowed to spend."""

import numpy as np
import pytest
from one_symbol import CALM, COSTS, HOUR, NAN, RISK, orders_of, walk, with_costs, with_risk

from serving.engine import run
from serving.limits import limits_of
from serving.market import Market
from serving.signals import Signals
from serving.state import CASH, EQUITY, SCALE, new_state
from serving.tape import FILLS, TAKE_PROFIT, new_tape

# The stop distance is 5; the entry waits a fifth of it, 1, from the close.
LIMIT = with_costs(entry_order="limit", entry_offset_atr_multiple=0.4)
STOP = with_costs(entry_order="stop", entry_offset_atr_multiple=0.4)
SHORT = {"contract": True, "risk": with_risk(allow_shorts=True)}


def test_a_limit_buy_fills_at_its_price_as_a_maker() -> None:
    state, tape, fills = walk([CALM, (100.0, 101.0, 98.5, 100.0, 1e6)], [0.5, NAN], costs=LIMIT)
    assert orders_of(tape) == [(0, "limit", 5.0, 100.0, 99.0)]
    # 5 x 99, and half a per mille of it; no spread.
    assert fills == [(1, "limit", 5.0, 99.0, 495.0, 0.2475)]
    assert state.stop[0] == 94.0


def test_a_limit_buy_gets_the_better_open() -> None:
    _, _, fills = walk([CALM, (97.0, 98.0, 96.0, 97.0, 1e6)], [0.5, NAN], costs=LIMIT)
    assert fills[0][:4] == (1, "limit", 5.0, 97.0)


def test_a_limit_buy_the_market_does_not_reach_expires() -> None:
    bars = [CALM, (100.0, 101.0, 99.5, 100.0, 1e6), CALM]
    state, tape, fills = walk(bars, [0.5, NAN, NAN], costs=LIMIT)
    assert fills == []
    assert len(orders_of(tape)) == 1
    assert (state.pending[0], state.pending_price[0]) == (0, 0.0)


def test_a_stop_buy_fills_at_its_price_with_spread_as_a_taker() -> None:
    _, tape, fills = walk([CALM, (100.0, 102.0, 99.0, 101.0, 1e6)], [0.5, NAN], costs=STOP)
    assert orders_of(tape) == [(0, "stop", 5.0, 100.0, 101.0)]
    assert fills[0][:4] == (1, "stop", 5.0, 101.101)
    assert fills[0][5] == round(5 * 101.101 * 0.001, 8)


def test_a_stop_buy_the_bar_opened_beyond_fills_at_the_open() -> None:
    _, _, fills = walk([CALM, (103.0, 104.0, 102.5, 103.0, 1e6)], [0.5, NAN], costs=STOP)
    assert fills[0][:4] == (1, "stop", 5.0, 103.103)


def test_entries_of_shorts_are_mirrored() -> None:
    up, down = (100.0, 102.0, 99.5, 100.0, 1e6), (100.0, 100.5, 98.0, 99.0, 1e6)
    _, _, fills = walk([CALM, up], [-0.5, NAN], costs=LIMIT, **SHORT)
    assert fills[0][:4] == (1, "limit", -5.0, 101.0)
    _, _, fills = walk([CALM, down], [-0.5, NAN], costs=STOP, **SHORT)
    assert fills[0][:4] == (1, "stop", -5.0, 98.901)


def test_limit_and_stop_prices_are_on_the_tick_beyond() -> None:
    _, tape, _ = walk([CALM], [0.5], costs=LIMIT, tick=0.3)
    assert orders_of(tape)[0][4] == 99.0
    _, tape, _ = walk([CALM], [0.5], costs=LIMIT, tick=0.7)
    assert orders_of(tape)[0][4] == 98.7
    _, tape, _ = walk([CALM], [0.5], costs=STOP, tick=0.7)
    assert orders_of(tape)[0][4] == 101.5


def test_a_reduction_is_a_market_order_and_so_is_an_entry_without_a_stop_distance() -> None:
    low = (100.0, 101.0, 98.0, 100.0, 1e6)
    _, tape, _ = walk([CALM, low, CALM], [0.5, 0.2, NAN], costs=LIMIT)
    assert [o[1] for o in orders_of(tape)] == ["limit", "market"]
    _, tape, _ = walk([CALM], [0.5], costs=LIMIT, stop_fraction=NAN, rules_apply=False)
    assert orders_of(tape) == [(0, "market", 5.0, 100.0, 0.0)]


def test_a_short_brings_cash_and_is_worth_less_the_dearer_it_gets() -> None:
    dearer = (100.0, 104.0, 99.0, 104.0, 1e6)
    state, tape, fills = walk([CALM, dearer], [-0.5, NAN], **SHORT)
    # Sold at 99.9 less a per mille of the notional.
    assert fills == [(1, "market", -5.0, 99.9, 499.5, 0.4995)]
    assert state.money[CASH] == round((1000 + 499.5 - 0.4995) * SCALE)
    assert state.cost[0] == -round((499.5 - 0.4995) * SCALE)
    assert state.money[EQUITY] == state.money[CASH] - 520 * SCALE
    assert tape.curve[1, 2] == -520 * SCALE


def test_buying_a_short_back_realises_what_it_brought_less_what_it_cost() -> None:
    cheaper = (90.0, 91.0, 89.0, 90.0, 1e6)
    state, tape, fills = walk([CALM, CALM, cheaper], [-0.5, 0.0, NAN], **SHORT)
    assert fills[1] == (2, "market", 5.0, 90.09, 450.45, 0.45045)
    gain = 499.5 - 0.4995 - 450.45 - 0.45045
    assert tape.fills["realised"][1] == round(gain * SCALE)
    assert state.money[CASH] == state.money[EQUITY] == round((1000 + gain) * SCALE)


def test_a_part_of_a_position_takes_its_part_of_the_average_cost() -> None:
    _, tape, fills = walk([CALM, CALM, CALM], [0.5, 0.25, NAN])
    # A quarter of 998.9995 is 2.49749875 units: the rest of the five is sold.
    assert fills[1][:3] == (2, "market", -2.50250125)
    cost, sold = 500.5 + 0.5005, 2.50250125 * 99.9
    gain = sold * 0.999 - cost * 2.50250125 / 5
    assert tape.fills["realised"][1] / SCALE == pytest.approx(gain, abs=2e-8)


def test_a_short_spends_free_cash_and_cannot_spend_what_it_brought() -> None:
    dearer = (110.0, 111.0, 109.0, 110.0, 1e6)
    risk = with_risk(allow_shorts=True, max_gross_weight=9.0, max_asset_weight=9.0)
    state, _, fills = walk([CALM, dearer, CALM], [-1.0, -3.0, NAN], contract=True, risk=risk)
    # Ten units at 109.89 are cut to what notional and fee leave of 1000; after it no cash is free.
    assert [f[2] for f in fills] == [pytest.approx(-1000 / (109.89 * 1.001), abs=2e-8)]
    assert state.money[CASH] > 1990 * SCALE


def test_a_short_is_not_opened_on_a_spot_pair_nor_without_leave() -> None:
    allowed = with_risk(allow_shorts=True)
    assert walk([CALM, CALM], [-0.5, NAN], risk=allowed, contract=False)[2] == []
    assert walk([CALM, CALM], [-0.5, NAN], contract=True)[2] == []


def test_a_whole_position_is_closed_whatever_its_lot_has_become() -> None:
    state, _, _ = walk([CALM, CALM], [0.5, 0.0])
    state, _, fills = walk([CALM], [NAN], lot=3 * SCALE, state=state)
    assert fills[0][:3] == (0, "market", -5.0)
    assert state.quantity[0] == 0


def test_what_leaves_comes_before_what_grows() -> None:
    price, unknown = np.full((3, 2), 100.0), np.full((3, 2), NAN)
    market = Market(
        price, price, price, price, price * 1e4, price * 0, np.ones(2, np.int64), np.zeros(2),
        np.zeros(2, np.int64), np.zeros(2, np.bool_), np.zeros(3, np.int64),
    )  # fmt: skip
    # All is in the second symbol; it has to be sold before the first can be bought.
    desired = np.array([[0.0, 1.0], [1.0, 0.0], [NAN, NAN]])
    signals = Signals(desired, *[unknown] * 2, unknown, unknown, *[unknown] * 2)
    tape, limits = new_tape(3, 2, recording=True), limits_of(COSTS, RISK, HOUR, rules_apply=False)
    run(market, signals, new_state(2, 1000), limits, tape)
    fills = tape.fills[: tape.used[FILLS]]
    assert fills["symbol"].tolist() == [1, 1, 0]
    assert (fills["quantity"] > 0).tolist() == [True, False, True]


def test_a_fill_says_what_it_cost_against_the_price_it_was_decided_at() -> None:
    costs = with_costs(slippage_rate=0.002)
    bars = [CALM, (102.0, 103.0, 101.0, 102.0, 1e6)]
    _, tape, _ = walk(bars, [0.5, NAN], costs=costs)
    fill = tape.fills[0]
    assert (fill["arrival"], fill["reference"]) == (100.0, 102.0)
    assert (fill["spread_rate"], fill["impact_rate"]) == (0.001, 0.002)
    assert fill["price"] == 102.0 * 1.003


def test_a_resting_fill_pays_neither_spread_nor_slippage() -> None:
    low, high = (100.0, 101.0, 98.0, 100.0, 1e6), (100.0, 120.0, 99.0, 110.0, 1e6)
    risk = with_risk(take_profit_r_multiple=1.0)
    _, tape, _ = walk([CALM, low, high], [0.5, NAN, NAN], costs=LIMIT, risk=risk)
    fills = tape.fills[: tape.used[FILLS]]
    assert fills["kind"][1] == TAKE_PROFIT
    assert np.array_equal(fills["price"], fills["reference"])
    assert not fills["spread_rate"].any()
    assert not fills["impact_rate"].any()
