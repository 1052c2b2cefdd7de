from datetime import timedelta

import numpy as np
import pytest

from serving.config import CostConfig, RiskConfig
from serving.engine import run
from serving.limits import limits_of
from serving.market import Market
from serving.signals import Signals
from serving.state import CASH, EQUITY, FUNDING, SCALE, new_state
from serving.tape import FILLS, KINDS, MARKET, ORDERS, STOP_LOSS, new_tape

HOUR = timedelta(hours=1)
# One per mille of slippage and of fee, no impact: every number below can be done by hand.
COSTS = CostConfig(
    slippage_model="fixed",
    slippage_rate=0.0,
    spread_rate=0.002,
    taker_fee_rate=0.001,
    participation_cap=0.5,
)
RISK = RiskConfig(
    no_trade_band=0.0,
    minimum_weight_change=0.0,
    max_asset_weight=1.0,
    volatility_target=100.0,
    risk_per_trade=1.0,
    stop_cooldown_bars=2,
    ramp_start=1.0,
    max_portfolio_heat=10.0,
    max_correlated_weight=10.0,
    daily_loss_limit=1.0,
    weekly_loss_limit=1.0,
    monthly_loss_limit=1.0,
    reduce_at_drawdown=1.0,
    flatten_at_drawdown=1.0,
)


def walk(
    bars,
    desired,
    *,
    stop_fraction=0.05,
    risk=RISK,
    costs=COSTS,
    lot=1,
    tick=0.0,
    minimum=0,
    funding=None,
    contract=False,
    calendar=None,
    controls=None,
):
    """Walk one symbol; `bars` are (open, high, low, close, volume) or None for a missing bar."""
    table = np.array([b or (np.nan,) * 5 for b in bars], np.float64)
    columns = [table[:, [i]].copy() for i in range(5)]
    shape = columns[0].shape
    rates = np.zeros(shape) if funding is None else np.array(funding, np.float64).reshape(shape)
    market = Market(
        *columns,
        rates,
        np.array([lot], np.int64),
        np.array([tick]),
        np.array([minimum], np.int64),
        np.array([contract]),
        np.zeros(len(bars), np.int64) if calendar is None else np.array(calendar, np.int64),
    )
    unknown = np.full(shape, np.nan)
    signals = Signals(
        np.array(desired, np.float64).reshape(shape),
        unknown,
        unknown.copy(),
        np.full(shape, 0.01),
        np.full(shape, stop_fraction),
        unknown.copy(),
        unknown.copy(),
    )
    state, tape = new_state(1, 1000), new_tape(len(bars), 1, recording=True)
    run(market, signals, state, limits_of(costs, risk, HOUR), tape, controls)
    fills = [
        (
            int(row["bar"]),
            KINDS[row["kind"]],
            row["quantity"] / SCALE,
            round(float(row["price"]), 9),
            row["notional"] / SCALE,
            row["fee"] / SCALE,
        )
        for row in tape.fills[: tape.used[FILLS]]
    ]
    return state, tape, fills


CALM = (100.0, 101.0, 99.0, 100.0, 1e6)


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


def test_funding_moves_cash_by_the_value_at_the_close() -> None:
    state, _, fills = walk([CALM, CALM], [0.5, np.nan], funding=[0.0, 0.001])
    assert fills[1][1] == "funding"
    assert state.money[FUNDING] == round(5 * 100 * 0.001 * SCALE)


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


def test_an_equity_beyond_exact_counts_is_refused() -> None:
    moon = (1e10, 1e10, 1e10, 1e10, 1e6)
    with pytest.raises(OverflowError, match="larger unit"):
        walk([CALM, CALM, moon], [0.9, np.nan, np.nan])
