"""The order of events inside a bar, decided and filled by hand."""

import numpy as np
import pytest
from one_symbol import CALM, COSTS, HOUR, RISK, orders_of, walk

from serving.controls import LIQUIDATE, PAUSE, RUN, Controls, no_controls
from serving.engine import run
from serving.limits import limits_of
from serving.market import Market
from serving.risk.names import ASSET_CAP
from serving.signals import Signals
from serving.state import CASH, EQUITY, SCALE, SIGNAL, new_state
from serving.tape import KINDS, MARKET, ORDERS, STOP_LOSS, new_tape


def test_an_order_fills_at_the_next_open_with_slippage_and_fee() -> None:
    state, tape, fills = walk([CALM, (102.0, 103.0, 101.0, 102.0, 1e6)], [0.5, np.nan])
    # 0.5 x 1000 / 100 = 5 units, bought at 102 x 1.001 = 102.102: 510.51 and a fee of 0.51051.
    assert fills == [(1, "market", 5.0, 102.102, 510.51, 0.51051)]
    assert state.money[CASH] == round((1000 - 510.51 - 0.51051) * SCALE)
    assert state.money[EQUITY] == state.money[CASH] + 510 * SCALE
    assert tape.curve[0].tolist() == [1000 * SCALE, 1000 * SCALE, 0]
    # 5 % of the deciding close below the fill.
    assert state.stop[0] == pytest.approx(102.102 - 5.0)


def test_a_stop_touched_inside_the_bar_fills_at_the_stop() -> None:
    bars = [CALM, CALM, (99.0, 99.5, 94.0, 98.0, 1e6)]
    _, _, fills = walk(bars, [0.5, np.nan, np.nan])
    # Bought at 100.1, so the stop is 95.1; sold there less slippage.
    assert fills[1][:4] == (2, "stop_loss", -5.0, round(95.1 * 0.999, 9))


def test_a_bar_that_opens_beyond_the_stop_fills_at_the_open() -> None:
    bars = [CALM, CALM, (80.0, 98.0, 79.0, 97.0, 1e6)]
    state, _, fills = walk(bars, [0.5, np.nan, np.nan])
    assert fills[1][:4] == (2, "stop_loss", -5.0, round(80 * 0.999, 9))
    assert state.quantity[0] == 0
    assert state.stop[0] == 0.0


def test_a_position_can_be_stopped_in_the_bar_that_opened_it() -> None:
    _, _, fills = walk([CALM, (100.0, 100.0, 90.0, 91.0, 1e6)], [0.5, np.nan])
    assert [f[:3] for f in fills] == [(1, "market", 5.0), (1, "stop_loss", -5.0)]


def test_the_participation_cap_fills_a_part_and_the_rest_expires() -> None:
    thin = (100.0, 101.0, 99.0, 100.0, 4.0)
    state, tape, fills = walk([CALM, thin, CALM], [0.5, np.nan, np.nan])
    assert [f[:3] for f in fills] == [(1, "market", 2.0)]
    assert tape.used[ORDERS] == 1
    assert state.pending[0] == 0


def test_a_stop_the_volume_cannot_take_goes_on_at_the_next_opens_until_the_position_is_flat() -> (
    None
):
    crash = (90.0, 91.0, 80.0, 85.0, 4.0)
    state, tape, fills = walk([CALM, CALM, crash, crash, CALM], [0.5, np.nan, 0.5, 0.5, np.nan])
    # Half of four units a bar; then at 90 x 0.999 and 100 x 0.999, whatever the signal asks.
    assert [f[:4] for f in fills[1:]] == [
        (2, "stop_loss", -2.0, 89.91),
        (3, "stop_loss", -2.0, 89.91),
        (4, "stop_loss", -1.0, 99.9),
    ]
    assert [o["kind"] for o in tape.orders[: tape.used[ORDERS]]] == [MARKET] + [STOP_LOSS] * 3
    assert state.exiting[0] == 0


def test_in_a_missing_bar_nothing_fills_and_the_order_expires() -> None:
    state, tape, fills = walk([CALM, None, CALM], [0.5, 0.5, np.nan])
    assert fills == []
    assert tape.used[ORDERS] == 1
    assert state.money[CASH] == 1000 * SCALE


def test_a_position_stays_marked_at_its_last_close_while_bars_are_missing() -> None:
    _, tape, _ = walk([CALM, (100.0, 111.0, 99.0, 110.0, 1e6), None], [0.5, np.nan, np.nan])
    assert tape.curve[2].tolist() == tape.curve[1].tolist()


def test_a_symbol_that_is_not_scored_keeps_its_position_and_its_stop() -> None:
    state, tape, _ = walk([CALM, CALM, CALM], [0.5, np.nan, np.nan])
    assert tape.used[ORDERS] == 1
    assert state.quantity[0] == 5 * SCALE
    assert state.stop[0] > 0


def test_quantities_are_lots_and_prices_are_ticks_against_the_trader() -> None:
    _, _, fills = walk([CALM, CALM], [0.58, np.nan], lot=SCALE // 10 * 3, tick=0.25)
    # 5.8 units are 19 lots of 0.3 and a rest; 100.1 is bought at the tick above.
    assert fills == [(1, "market", 5.7, 100.25, 571.425, 0.571425)]


def test_an_order_below_the_minimum_notional_is_not_made_but_a_position_can_be_closed() -> None:
    _, tape, fills = walk([CALM, CALM], [0.005, np.nan], minimum=10 * SCALE)
    assert fills == []
    assert tape.used[ORDERS] == 0
    fallen = (100.0, 100.0, 70.0, 70.0, 1e6)
    _, _, fills = walk(
        [CALM, fallen, CALM], [0.05, 0.0, np.nan], minimum=40 * SCALE, stop_fraction=0.9
    )
    # Bought for 50, worth 35 when it is sold.
    assert [f[2] for f in fills] == [0.5, -0.5]


def test_a_purchase_is_cut_to_what_the_cash_can_pay() -> None:
    gap_up = (150.0, 151.0, 149.0, 150.0, 1e6)
    state, _, fills = walk([CALM, gap_up], [1.0, np.nan])
    assert len(fills) == 1
    # Less than the price of one more count of 1e-8.
    assert 0 <= state.money[CASH] < 151


def test_after_a_stop_the_symbol_is_left_alone_for_the_cooldown() -> None:
    crash = (90.0, 91.0, 89.0, 90.0, 1e6)
    low = (90.0, 91.0, 89.5, 90.0, 1e6)
    _, tape, _ = walk([CALM, CALM, crash, low, low], [0.5] * 5)
    orders = [(bar, KINDS[kind]) for bar, _, kind, *_ in tape.orders[: tape.used[ORDERS]].tolist()]
    # Stopped in bar 2; two bars of cooldown; asked for again at the close of bar 4.
    assert [o for o in orders if o[0] >= 2] == [(2, "stop_loss"), (4, "market")]


def test_a_position_older_than_its_limit_is_closed_at_the_next_open() -> None:
    risk = RISK.model_copy(update={"max_holding_bars": 2})
    _, _, fills = walk([CALM] * 4, [0.5, np.nan, np.nan, np.nan], risk=risk)
    assert [f[:3] for f in fills] == [(1, "market", 5.0), (3, "market", -5.0)]


def test_a_wish_of_the_other_sign_closes_first_and_flips_a_bar_later() -> None:
    risk = RISK.model_copy(update={"allow_shorts": True})
    _, tape, fills = walk([CALM] * 4, [0.5, -0.5, -0.5, np.nan], risk=risk, contract=True)
    assert [f[:2] for f in fills] == [(1, "market"), (2, "market"), (3, "market")]
    assert fills[1][2] == -5.0
    assert fills[2][2] < 0
    assert tape.targets[:3, 0].tolist() == [0.5, 0.0, -0.5]


def test_an_order_names_the_rule_that_shaped_it() -> None:
    risk = RISK.model_copy(update={"max_asset_weight": 0.3})
    _, tape, _ = walk([CALM, CALM], [0.5, np.nan], risk=risk)
    assert tape.orders["cause"][0] == tape.fills["cause"][0] == ASSET_CAP
    _, tape, _ = walk([CALM, CALM], [0.5, np.nan])
    assert tape.orders["cause"][0] == tape.fills["cause"][0] == SIGNAL


def test_a_paused_book_keeps_what_it_has_and_a_liquidated_one_does_not() -> None:
    for rules_apply in (True, False):
        for mode, sold in ((PAUSE, []), (LIQUIDATE, [-2.0])):
            controls = Controls(np.array([RUN, mode, mode]), *np.zeros((2, 3), np.bool_))
            _, _, fills = walk(
                [CALM] * 3, [0.2, 0.8, 0.8], controls=controls, rules_apply=rules_apply
            )
            assert [f[2] for f in fills] == [2.0, *sold]


def test_nothing_is_ordered_while_an_exit_goes_on() -> None:
    crash = (90.0, 91.0, 80.0, 85.0, 4.0)
    controls = Controls(np.array([RUN, RUN, LIQUIDATE, RUN]), *np.zeros((2, 4), np.bool_))
    _, tape, _ = walk([CALM, CALM, crash, CALM], [0.5, np.nan, 0.9, np.nan], controls=controls)
    assert [o[:2] for o in orders_of(tape)] == [(0, "market"), (2, "stop_loss"), (3, "stop_loss")]


def test_a_tape_that_does_not_record_gives_the_same_curve() -> None:
    rng = np.random.default_rng(3)
    shape = (50, 2)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    market = Market(
        close, close * 1.01, close * 0.99, close, np.full(shape, 1e6), np.zeros(shape),
        np.ones(2, np.int64), np.zeros(2), np.zeros(2, np.int64), np.zeros(2, np.bool_),
        np.zeros(50, np.int64),
    )  # fmt: skip
    unknown = np.full(shape, np.nan)
    signals = Signals(
        rng.random(shape), unknown, unknown, np.full(shape, 0.01), np.full(shape, 0.02), unknown,
        unknown,
    )  # fmt: skip
    curves = []
    for recording in (True, False):
        tape = new_tape(50, 2, recording=recording)
        run(market, signals, new_state(2, 1000), limits_of(COSTS, RISK, HOUR), tape)
        curves.append(tape.curve.tolist())
    assert curves[0] == curves[1]


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    _, tape, _ = walk([CALM], [0.5])
    state = new_state(2, 1000)
    shape = (1, 1)
    one = np.full(shape, 100.0)
    market = Market(
        one, one, one, one, one, one, np.ones(1, np.int64), np.zeros(1), np.zeros(1, np.int64),
        np.zeros(1, np.bool_), np.zeros(1, np.int64),
    )  # fmt: skip
    limits = limits_of(COSTS, RISK, HOUR)
    with pytest.raises(ValueError, match="state of 2 symbols"):
        run(market, Signals(*[one] * 7), state, limits, tape)
    with pytest.raises(ValueError, match="differ in shape"):
        run(market, Signals(one.T[:, :0], *[one] * 6), state, limits, tape)
    with pytest.raises(ValueError, match="controls of 2 bars do not fit 1 bars"):
        run(market, Signals(*[one] * 7), new_state(1, 1000), limits, tape, no_controls(2))


def test_an_equity_beyond_exact_counts_is_refused() -> None:
    moon = (1e10, 1e10, 1e10, 1e10, 1e6)
    with pytest.raises(OverflowError, match="larger unit"):
        walk([CALM, CALM, moon], [0.9, np.nan, np.nan])
