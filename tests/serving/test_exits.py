"""Stop loss, trailing stop and take profit, bar by bar."""

import pytest
from one_symbol import CALM, NAN, orders_of, trades_of, walk, with_costs, with_risk

from serving.tape import KINDS

# Bought at 100.1 with a stop 5 below it (R = 5): the stop loss is at 95.1.
TARGET = with_risk(take_profit_r_multiple=1.0)  # 105.1
TRAIL = with_risk(trailing_stop_atr_multiple=2.0)  # 5 below the best price
SHORTS = {"contract": True}


def after_entry(*bars, risk, desired=0.5, **keys):
    """Enter at the open of bar 1 and say nothing more; (fills of exits, state, tape)."""
    signals = [desired] + [NAN] * (len(bars) + 1)
    state, tape, fills = walk([CALM, CALM, *bars], signals, risk=risk, **keys)
    return fills[1:], state, tape


def test_a_take_profit_fills_at_its_level_as_a_maker() -> None:
    fills, state, tape = after_entry((101.0, 106.0, 100.0, 105.0, 1e6), risk=TARGET)
    assert fills == [(2, "take_profit", -5.0, 105.1, 525.5, 0.26275)]
    assert orders_of(tape)[1] == (2, "take_profit", -5.0, 105.1, 105.1)
    assert state.cooldown[0] == 0


def test_a_take_profit_gets_the_better_open() -> None:
    fills, _, _ = after_entry((107.0, 108.0, 106.0, 107.0, 1e6), risk=TARGET)
    assert fills[0][:4] == (2, "take_profit", -5.0, 107.0)


def test_a_bar_that_touches_stop_and_target_takes_the_stop() -> None:
    fills, state, _ = after_entry((100.0, 106.0, 94.0, 100.0, 1e6), risk=TARGET)
    assert fills[0][:4] == (2, "stop_loss", -5.0, round(95.1 * 0.999, 9))
    assert state.cooldown[0] == 2


def test_market_entries_can_take_their_profit_in_the_bar_they_opened_in() -> None:
    _, _, fills = walk([CALM, (100.0, 106.0, 99.0, 105.0, 1e6)], [0.5, NAN], risk=TARGET)
    assert [f[:2] for f in fills] == [(1, "market"), (1, "take_profit")]


def test_a_resting_entry_can_be_stopped_in_its_bar_but_not_take_its_profit() -> None:
    limit = with_costs(entry_order="limit", entry_offset_atr_multiple=0.4)
    up, down = (100.0, 110.0, 98.0, 109.0, 1e6), (100.0, 110.0, 93.0, 94.5, 1e6)
    _, _, fills = walk([CALM, up], [0.5, NAN], risk=TARGET, costs=limit)
    assert [f[1] for f in fills] == ["limit"]
    _, _, fills = walk([CALM, down], [0.5, NAN], risk=TARGET, costs=limit)
    # Bought at 99, stopped at 94: the open above it was before the entry.
    assert [f[:4] for f in fills[1:]] == [(1, "stop_loss", -5.0, round(94 * 0.999, 9))]


def test_a_stop_entry_that_is_stopped_in_its_bar_gets_the_level_not_the_open() -> None:
    # With the trigger 6 above and R = 5 the stop loss lies above the open of the bar.
    stop = with_costs(entry_order="stop", entry_offset_atr_multiple=2.4)
    _, _, fills = walk([CALM, (100.0, 107.0, 99.0, 104.0, 1e6)], [0.5, NAN], costs=stop)
    bought = 106.0 * 1.001
    assert fills[0][3] == round(bought, 9)
    assert fills[1][:4] == (1, "stop_loss", -5.0, round((bought - 5) * 0.999, 9))


def test_a_trailing_stop_follows_the_best_price_up_to_the_bar_before() -> None:
    rise, fall = (101.0, 110.0, 97.0, 109.0, 1e6), (108.0, 109.0, 104.0, 105.0, 1e6)
    fills, state, _ = after_entry(rise, risk=TRAIL)
    # The low of the rise is below 110 - 5, but that level holds only from the next bar on.
    assert fills == []
    assert state.trail[0] == 105.0
    fills, state, _ = after_entry(rise, fall, risk=TRAIL)
    assert fills[0][:4] == (3, "trailing_stop", -5.0, 104.895)
    assert state.cooldown[0] == 2


def test_a_trailing_stop_never_goes_back() -> None:
    rise, calm = (101.0, 110.0, 100.0, 109.0, 1e6), (109.0, 109.5, 106.0, 107.0, 1e6)
    _, state, _ = after_entry(rise, calm, risk=TRAIL)
    assert state.trail[0] == 105.0


def test_a_bar_that_opens_beyond_the_trailing_stop_fills_at_the_open() -> None:
    rise, gap = (101.0, 110.0, 100.0, 109.0, 1e6), (102.0, 103.0, 101.0, 102.0, 1e6)
    fills, _, _ = after_entry(rise, gap, risk=TRAIL)
    assert fills[0][:4] == (3, "trailing_stop", -5.0, 101.898)


def test_the_nearer_of_stop_loss_and_trailing_stop_is_met() -> None:
    wide = with_risk(trailing_stop_atr_multiple=4.0)
    fills, _, _ = after_entry((100.0, 101.0, 80.0, 90.0, 1e6), risk=wide)
    assert fills[0][1] == "stop_loss"
    fills, _, _ = after_entry((100.0, 101.0, 80.0, 90.0, 1e6), risk=TRAIL)
    # The high of the entry bar, 101, has drawn it to 96, above the stop loss at 95.1.
    assert fills[0][:4] == (2, "trailing_stop", -5.0, round(96 * 0.999, 9))


@pytest.mark.parametrize(
    ("bar", "kind", "price"),
    [
        ((100.0, 106.0, 99.0, 100.0, 1e6), "stop_loss", 104.9 * 1.001),
        ((108.0, 109.0, 107.0, 108.0, 1e6), "stop_loss", 108 * 1.001),
        ((99.0, 100.0, 94.0, 95.0, 1e6), "take_profit", 94.9),
        ((93.0, 94.0, 92.0, 93.0, 1e6), "take_profit", 93.0),
        ((100.0, 106.0, 94.0, 100.0, 1e6), "stop_loss", 104.9 * 1.001),
    ],
)
def test_exits_of_shorts_are_mirrored(bar, kind, price) -> None:
    risk = TARGET.model_copy(update={"allow_shorts": True})
    # Sold at 99.9: stopped 5 above, satisfied 5 below.
    fills, _, _ = after_entry(bar, risk=risk, desired=-0.5, **SHORTS)
    assert fills[0][:4] == (2, kind, 5.0, round(price, 9))


def test_the_trailing_stop_of_a_short_comes_down() -> None:
    risk = TRAIL.model_copy(update={"allow_shorts": True})
    fall, rise = (99.0, 100.0, 90.0, 91.0, 1e6), (92.0, 96.0, 91.0, 95.0, 1e6)
    fills, _, _ = after_entry(fall, rise, risk=risk, desired=-0.5, **SHORTS)
    assert fills[0][:4] == (3, "trailing_stop", 5.0, round(95 * 1.001, 9))


def test_what_the_volume_leaves_of_a_take_profit_goes_on_at_the_open_as_a_taker() -> None:
    thin = (104.0, 106.0, 103.0, 104.0, 6.0)
    fills, _, tape = after_entry(thin, (102.0, 103.0, 101.0, 102.0, 1e6), risk=TARGET)
    assert [f[:4] for f in fills] == [
        (2, "take_profit", -3.0, 105.1),
        (3, "take_profit", -2.0, 101.898),
    ]
    assert tape.fills["arrival"][2] == 105.1
    assert orders_of(tape)[2] == (3, "take_profit", -2.0, 105.1, 0.0)


def test_a_stop_in_a_bar_without_volume_is_filled_at_the_next_open() -> None:
    silent = (96.0, 97.0, 94.0, 96.0, 0.0)
    fills, _, _ = after_entry(silent, None, (98.0, 99.0, 97.0, 98.0, 1e6), risk=TRAIL)
    assert fills[0][:2] == (4, "trailing_stop")
    assert fills[0][3] == round(98 * 0.999, 9)


def test_adding_brings_the_stop_nearer_but_keeps_r_and_the_target() -> None:
    up = (110.0, 110.5, 109.0, 110.0, 1e6)
    wide = with_risk(take_profit_r_multiple=9.0)
    state, _, fills = walk([CALM, CALM, up, up], [0.3, NAN, 0.6, NAN], risk=wide)
    assert [f[2] > 0 for f in fills] == [True, True]
    assert state.stop[0] == pytest.approx(110.11 - 5.5)
    assert state.risk[0] == 5.0
    assert state.target[0] == pytest.approx(100.1 + 45.0)


def test_a_round_trip_tells_how_bad_and_how_good_it_was() -> None:
    bars = [CALM, CALM, (100.0, 108.0, 97.0, 104.0, 1e6), (103.0, 120.0, 90.0, 110.0, 1e6)]
    _, tape, _ = walk(bars, [0.5, NAN, 0.0, NAN])
    (trade,) = trades_of(tape)
    assert (trade["bar"], trade["side"], trade["age"]) == (3, 1, 2)
    assert trade["entry_price"] == pytest.approx(100.1)
    assert trade["exit_price"] == pytest.approx(103 * 0.999)
    # It was sold at the open of the last bar, whose own extremes it did not see.
    assert trade["mae"] == pytest.approx(97 / 100.1 - 1)
    assert trade["mfe"] == pytest.approx(108 / 100.1 - 1)
    assert trade["risk"] == pytest.approx(5 / 100.1)
    assert KINDS[trade["kind"]] == "market"
    assert trade["realised"] == tape.fills["realised"][1]
    assert trade["fees"] == tape.fills["fee"][:2].sum()


def test_a_round_trip_of_a_short_mirrors_good_and_bad() -> None:
    bars = [CALM, CALM, (100.0, 103.0, 92.0, 95.0, 1e6), (96.0, 97.0, 95.0, 96.0, 1e6)]
    risk = with_risk(allow_shorts=True)
    _, tape, _ = walk(bars, [-0.5, NAN, 0.0, NAN], risk=risk, funding=[0, 0, 0.001, 0], **SHORTS)
    (trade,) = trades_of(tape)
    assert trade["side"] == -1
    assert trade["mae"] == pytest.approx(1 - 103 / 99.9)
    assert trade["mfe"] == pytest.approx(1 - 92 / 99.9)
    # The short received a per mille of 5 x 95.
    assert trade["funding"] == -47_500_000
    assert trade["realised"] == tape.fills["realised"][:3].sum()


def test_a_trade_that_loses_at_its_entry_is_never_better_than_nothing() -> None:
    _, tape, _ = walk([CALM, (100.0, 100.0, 90.0, 91.0, 1e6)], [0.5, NAN])
    (trade,) = trades_of(tape)
    assert trade["mfe"] == 0.0
    assert trade["mae"] == pytest.approx(95.1 * 0.999 / 100.1 - 1)
    assert trade["age"] == 0
