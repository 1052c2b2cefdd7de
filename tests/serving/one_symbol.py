"""One symbol walked through a few bars, with costs and limits that can be done by hand."""

from datetime import timedelta

import numpy as np

from serving.config import CostConfig, RiskConfig
from serving.engine import run
from serving.limits import limits_of
from serving.market import Market
from serving.signals import Signals
from serving.state import SCALE, new_state
from serving.tape import FILLS, KINDS, ORDERS, TRADES, new_tape

HOUR = timedelta(hours=1)
# A taker pays one per mille of spread and of fee, there is no impact: numbers can be done by hand.
COSTS = CostConfig(
    slippage_model="fixed",
    slippage_rate=0.0,
    spread_rate=0.002,
    taker_fee_rate=0.001,
    maker_fee_rate=0.0005,
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

# Open, high, low, close, volume.
CALM = (100.0, 101.0, 99.0, 100.0, 1e6)
NAN = np.nan


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
    state=None,
    rules_apply=True,
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
    state, tape = state or new_state(1, 1000), new_tape(len(bars), 1, recording=True)
    limits = limits_of(costs, risk, HOUR, rules_apply=rules_apply)
    run(market, signals, state, limits, tape, controls)
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


def with_risk(**keys) -> RiskConfig:
    return RISK.model_copy(update=keys)


def with_costs(**keys) -> CostConfig:
    return COSTS.model_copy(update=keys)


def orders_of(tape) -> list[tuple]:
    """(bar, kind, quantity, reference, price) of every order."""
    return [
        (int(o["bar"]), KINDS[o["kind"]], o["quantity"] / SCALE, o["reference"], o["price"])
        for o in tape.orders[: tape.used[ORDERS]]
    ]


def trades_of(tape) -> list[np.void]:
    return list(tape.trades[: tape.used[TRADES]])
