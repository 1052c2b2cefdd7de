"""A crash walked through by hand: SOL in the week FTX fell, 6 to 12 November 2022, real hourly bars.

Every fill below was worked out from the bars by hand: the arithmetic stands beside it. The wish never
changes (30 % of equity), the stop is 5 % away, the target twice that, and after a stop the symbol is
left alone for twelve bars. `known_at` is the close of the bar, so the bar of 16:00Z opened at 15:00.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from serving.config import CostConfig, RiskConfig
from serving.engine import run
from serving.limits import limits_of
from serving.market import Filters, Panel, build_panel
from serving.risk.names import RULES
from serving.signals import Signals
from serving.state import EQUITY, SCALE, new_state
from serving.tape import CURVE_CASH, CUTS, FILLS, KINDS, Tape, new_tape

HOUR = timedelta(hours=1)
BARS = Path(__file__).parent / "bars" / "solusdt_ftx_week.csv"
VENUE = Filters(lot=0.01, tick=0.01, minimum_notional=5.0)
COSTS = CostConfig(
    taker_fee_rate=0.001, maker_fee_rate=0.0005, spread_rate=0.0, slippage_model="fixed",
    slippage_rate=0.0,
)  # fmt: skip
RISK = RiskConfig(
    ramp_start=1.0, risk_per_trade=1.0, volatility_target=10.0, minimum_weight_change=0.05,
    take_profit_r_multiple=2.0, stop_cooldown_bars=12, allow_shorts=True,
)  # fmt: skip


def week(symbol: str, wish: float, costs: CostConfig = COSTS) -> tuple[Panel, Tape, int]:
    """Trade the week on one wish; return the tape and the last equity, counts."""
    known_at = pl.col("known_at").str.to_datetime(
        "%Y-%m-%dT%H:%MZ", time_unit="us", time_zone="UTC"
    )
    bars = pl.read_csv(BARS).with_columns(known_at, symbol=pl.lit(symbol))
    panel = build_panel(bars, timeframe=HOUR, filters={symbol: VENUE})

    def always(value: float) -> np.ndarray:
        return np.full((panel.bars, 1), value)

    signals = Signals(
        desired=always(wish), edge=always(np.nan), variance=always(np.nan), sigma=always(1e-3),
        stop_fraction=always(0.05), correlation=always(1.0), stress=always(0.0),
    )  # fmt: skip
    state, tape = new_state(1, 100_000), new_tape(panel.bars, 1, recording=True)
    run(panel.market, signals, state, limits_of(costs, RISK, HOUR), tape)
    return panel, tape, int(state.money[EQUITY])


def fills_of(panel: Panel, tape: Tape) -> list[tuple]:
    """Return (day and hour, kind, quantity, price) of every fill."""
    return [
        (f"{panel.known_at(int(f['bar'])):%dT%H}", KINDS[f["kind"]], f["quantity"] / SCALE, f["price"].item())
        for f in tape.fills[: tape.used[FILLS]]
    ]  # fmt: skip


def test_a_long_book_is_stopped_out_eight_times_and_then_stands_aside() -> None:
    panel, tape, equity = week("SOL/USDT", 0.3)
    assert fills_of(panel, tape) == [
        # 06T01 closed at 36.43: 30 % of 100,000 is 823.497, whole lots; the next open was 36.43.
        ("06T02", "market", 823.49, 36.43),
        # 36.43 - 5 % = 34.6085, down to the tick; the bar opened at 35.06 and fell to 34.47.
        ("06T17", "stop_loss", -823.49, 34.60),
        # Twelve bars later, 07T05, the wish is heard again: 98,434.52 x 0.3 / 32.49 = 908.90.
        ("07T06", "market", 908.90, 32.49),
        ("07T08", "stop_loss", -908.90, 30.86),
        ("07T21", "market", 897.73, 32.38),
        # The bar went from 31.02 down to 28.00: the stop was inside it, so it filled at the stop.
        ("07T23", "stop_loss", -897.73, 30.76),
        ("08T12", "market", 1014.00, 28.22),
        ("08T15", "stop_loss", -1014.00, 26.80),
        # The cooldown has slept through 08T20, the hour that fell from 24.36 to 19.80.
        ("09T04", "market", 1279.71, 22.01),
        ("09T06", "stop_loss", -1279.71, 20.90),
        # Bought at the open of 14.58, 0.01 above the close that decided it; R stays 5 % of 14.57.
        ("09T19", "market", 1902.81, 14.58),
        # In the same bar: the low was 12.54.
        ("09T19", "stop_loss", -1902.81, 13.85),
        ("10T08", "market", 1786.06, 15.28),
        ("10T09", "stop_loss", -1786.06, 14.51),
        ("10T22", "market", 1485.75, 18.07),
        ("11T01", "stop_loss", -1485.75, 17.16),
    ]
    # 10.5 % below Monday 00:00: from 11T13, when the cooldown ends, the weekly limit says no.
    rules = {RULES[cut["rule"]] for cut in tape.cuts[: tape.used[CUTS]] if cut["bar"] >= 132}
    assert rules == {"weekly_loss"}
    assert equity == 8_813_737_239_380  # 100,000 less the eight losses: flat, so all of it is cash


def test_what_the_first_stop_cost_is_its_distance_and_two_fees() -> None:
    _, tape, _ = week("SOL/USDT", 0.3)
    bought, sold = tape.fills[:2]
    assert bought["notional"] == 29_999_74070000  # 823.49 x 36.43
    assert bought["fee"] == 29_99974070  # a thousandth
    assert sold["notional"] == 28_492_75400000  # 823.49 x 34.60
    assert sold["fee"] == 28_49275400
    assert sold["realised"] == -1_565_47919470  # 28,492.754 - 28.492754 - 29,999.7407 - 29.9997407


def test_a_short_book_takes_the_crash_and_gives_back_on_the_bounces() -> None:
    panel, tape, equity = week("SOL/USDT:USDT", -0.3)
    assert fills_of(panel, tape)[:11] == [
        ("06T02", "market", -823.49, 36.43),
        # Two R below: 36.43 - 2 x 1.8215 = 32.787, down to the tick; reached at 32.31, maker.
        ("07T00", "take_profit", 823.49, 32.78),
        # A target is no reason to stand aside: the order of the same close fills at the next open.
        ("07T01", "market", -946.92, 32.61),
        ("07T23", "take_profit", 946.92, 29.34),
        ("08T00", "market", -1081.03, 29.42),
        ("08T04", "take_profit", 1081.03, 26.47),
        ("08T05", "market", -1235.73, 26.50),
        # 08T06 fell to 25.00, short of the target at 23.85; 08T07 rose to 28.68, through the stop.
        ("08T07", "stop_loss", 1235.73, 27.83),
        # The bar of 19.80 to 25.83 touched the stop at 25.58 and the target at 21.93: the stop counts.
        ("08T20", "market", -1323.77, 24.36),
        ("08T20", "stop_loss", 1323.77, 25.58),
        ("09T09", "market", -1644.86, 19.29),
    ]
    assert len(fills_of(panel, tape)) == 25
    # Short 2,049.91 since 12T21 at 15.15: cash holds what they brought, and they are owed at 14.58.
    last = panel.market.close[-1, 0]
    quantity, cash = sum(f["quantity"] for f in tape.fills[:25]), tape.curve[-1, CURVE_CASH]
    assert (quantity, last) == (-2049_91000000, 14.58)
    assert equity == cash - 2049_91000000 * last


def test_with_the_costs_of_the_default_every_fill_is_worse() -> None:
    panel, plain, free = week("SOL/USDT", 0.3)
    _, paid, equity = week("SOL/USDT", 0.3, CostConfig())
    prices = [f["price"] for f in plain.fills[: plain.used[FILLS]]]
    costly = fills_of(panel, paid)
    assert [moment for moment, *_ in costly] == [moment for moment, *_ in fills_of(panel, plain)]
    assert costly[0] == ("06T02", "market", 823.49, 36.46)
    # The stop hangs on what was paid: 36.46 - 1.8215 = 34.63 on the tick. Sold at 34.63 less half the
    # spread, 0.0002, less 0.7 x 0.6006 x (35.40 - 34.47) / 34.935 x sqrt(823.49 / 471,930) = 0.00047.
    assert costly[1] == ("06T17", "stop_loss", -823.49, 34.60)
    for (*_, price), before in zip(costly[::2], prices[::2], strict=True):
        assert price > before
    assert equity < free
