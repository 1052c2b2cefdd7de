"""A recorded walk as frames: what was ordered, filled, cut, held and left of it."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.metrics import amounts
from serving.books import Walk
from serving.compiled import Counts, Floats
from serving.risk.names import RULES, cause_of, reason_of
from serving.state import SCALE, SIGNAL, to_counts
from serving.tape import (
    CURVE_CASH,
    CURVE_EQUITY,
    CURVE_EXPOSURE,
    CUTS,
    FILLS,
    FIRST_RULE_STAGE,
    FUNDING_PAYMENT,
    KINDS,
    LIMIT,
    MARKET,
    ORDERS,
    STAGE_ASKED,
    STAGE_BARS,
    STAGE_SCORED,
    STOP,
    TRADES,
)

PLACED = (MARKET, LIMIT, STOP)
_BPS = 1e4


def equity_curve(walk: Walk, initial_cash: float) -> Floats:
    """Return the equity with the initial capital in front, float64 (bars + 1,)."""
    return np.concatenate(
        [[to_counts(initial_cash) / SCALE], amounts(walk.tape.curve[:, CURVE_EQUITY])]
    )


def equity_frame(walk: Walk, initial_cash: float) -> pl.DataFrame:
    """Return known_at, equity, cash, exposure [quote], drawdown [fraction, at most 0]."""
    curve, equity = walk.tape.curve, equity_curve(walk, initial_cash)
    return pl.DataFrame(
        {
            "known_at": walk.panel.instants(),
            "equity": equity[1:],
            "cash": amounts(curve[:, CURVE_CASH]),
            "exposure": amounts(curve[:, CURVE_EXPOSURE]),
            "drawdown": (equity / np.maximum.accumulate(equity) - 1.0)[1:],
        }
    )


def orders_frame(walk: Walk) -> pl.DataFrame:
    """Return the orders of a recorded walk.

    known_at (the close at which it was decided; a protective exit: the bar in which it fired), symbol,
    kind, side, quantity [base], reference_price (that close; a protective exit: its level), price (the
    limit or stop price, 0 of a market order), stop_distance [quote], target_weight, cause (the rule
    that shaped it, or "signal").
    """
    rows = walk.tape.orders[: walk.tape.used[ORDERS]]
    return _keyed(walk, rows).with_columns(
        _names(rows["kind"], KINDS, "kind"),
        _sides(rows["quantity"]),
        pl.Series("quantity", amounts(np.abs(rows["quantity"]))),
        pl.Series("reference_price", rows["reference"]),
        pl.Series("price", rows["price"]),
        pl.Series("stop_distance", rows["stop_distance"]),
        pl.Series("target_weight", rows["weight"]),
        _causes(rows["cause"], "cause"),
    )


def fills_frame(walk: Walk) -> pl.DataFrame:
    """Return the fills of a recorded walk, and what each cost.

    known_at (of the bar in which it filled), symbol, kind, side, quantity [base], arrival_price (when
    it was decided), reference_price (before costs: the open, the level), price, notional, fee,
    realised [quote], spread_bps, impact_bps [of the reference], slippage_bps (what the price lost
    since the decision, costs included and fees not, of the arrival price; positive is a loss), fee_bps
    [of the notional], cause. A funding payment has side "funding", its amount in notional, and no
    costs.
    """
    rows = walk.tape.fills[: walk.tape.used[FILLS]]
    paid = pl.Series(rows["kind"] == FUNDING_PAYMENT)
    slippage = _relative(rows["price"] - rows["arrival"], rows["arrival"])
    fee = _relative(rows["fee"].astype(np.float64), rows["notional"].astype(np.float64))
    return (
        _keyed(walk, rows)
        .with_columns(
            _names(rows["kind"], KINDS, "kind"),
            _sides(rows["quantity"]),
            pl.Series("quantity", amounts(np.abs(rows["quantity"]))),
            pl.Series("arrival_price", rows["arrival"]),
            pl.Series("reference_price", rows["reference"]),
            pl.Series("price", rows["price"]),
            pl.Series("notional", amounts(rows["notional"])),
            pl.Series("fee", amounts(rows["fee"])),
            pl.Series("realised", amounts(rows["realised"])),
            pl.Series("spread_bps", rows["spread_rate"] * _BPS),
            pl.Series("impact_bps", rows["impact_rate"] * _BPS),
            pl.Series("slippage_bps", np.sign(rows["quantity"]) * slippage * _BPS),
            pl.Series("fee_bps", fee * _BPS),
            _causes(rows["cause"], "cause"),
        )
        .with_columns(pl.when(paid).then(pl.lit("funding")).otherwise("side").alias("side"))
    )


def risk_events_frame(walk: Walk) -> pl.DataFrame:
    """Return known_at, symbol, rule, asked, allowed [weight], reason of every cut."""
    rows = walk.tape.cuts[: walk.tape.used[CUTS]]
    reasons = tuple(reason_of(rule, walk.limits) for rule in range(len(RULES)))
    return _keyed(walk, rows).with_columns(
        _names(rows["rule"], RULES, "rule"),
        pl.Series("asked", rows["asked"]),
        pl.Series("allowed", rows["allowed"]),
        _names(rows["rule"], reasons, "reason"),
    )


def trades_frame(walk: Walk) -> pl.DataFrame:
    """Return one row a round trip, in the order in which they ended.

    entered_at, exited_at (of the bars in which the position was opened and became flat again),
    symbol, side ("long", "short"), bars_held (closes), quantity [base entered in all], entry_price,
    exit_price (averages), invested, realised (net of fees and funding) [quote], return [realised over
    invested], fees, funding [quote], mae (at most 0), mfe (at least 0) [fractions of the entry price],
    r_multiple [realised over what the initial stop put at risk; NaN without one], edge [expected log
    return at the entry; NaN without one], exit_kind, exit_cause.
    """
    rows = walk.tape.trades[: walk.tape.used[TRADES]]
    invested, realised = amounts(rows["invested"]), amounts(rows["realised"])
    gain = _relative(realised, invested)
    return pl.DataFrame(
        {
            # A position that a run began with was opened before its first bar.
            "entered_at": _instants(walk, rows["bar"] - rows["age"]),
            "exited_at": _instants(walk, rows["bar"]),
            "symbol": _names(rows["symbol"], walk.panel.symbols, "symbol"),
            "side": _names((rows["side"] < 0).astype(np.int64), ("long", "short"), "side"),
            "bars_held": rows["age"],
            "quantity": amounts(rows["quantity"]),
            "entry_price": rows["entry_price"],
            "exit_price": rows["exit_price"],
            "invested": invested,
            "realised": realised,
            "return": gain,
            "fees": amounts(rows["fees"]),
            "funding": amounts(rows["funding"]),
            "mae": rows["mae"],
            "mfe": rows["mfe"],
            "r_multiple": _relative(gain, rows["risk"]),
            "edge": rows["edge"],
            "exit_kind": _names(rows["kind"], KINDS, "exit_kind"),
            "exit_cause": _causes(rows["cause"], "exit_cause"),
        }
    )


def waterfall_frame(walk: Walk) -> pl.DataFrame:
    """Return stage, count: how many bar-symbols were left after each stage of the decision.

    bars, scored, asked for a change, after each rule, ordered, filled; then protective exits that
    fired and their fills.
    """
    tape = walk.tape
    stages = [
        ("bars", tape.stages[STAGE_BARS]),
        ("scored", tape.stages[STAGE_SCORED]),
        ("asked for a change", tape.stages[STAGE_ASKED]),
    ]
    if walk.limits.rules_apply:
        stages += [
            (f"after {rule}", tape.stages[FIRST_RULE_STAGE + i])
            for i, rule in enumerate(RULES[:-1])
        ]
    ordered = tape.orders[: tape.used[ORDERS]]["kind"]
    filled = tape.fills[: tape.used[FILLS]]["kind"]
    exits = filled[filled != FUNDING_PAYMENT]
    stages += [
        ("ordered", np.isin(ordered, PLACED).sum()),
        ("filled", np.isin(filled, PLACED).sum()),
        ("exits fired", (~np.isin(ordered, PLACED)).sum()),
        ("exits filled", (~np.isin(exits, PLACED)).sum()),
    ]
    return pl.DataFrame(
        {"stage": [s for s, _ in stages], "count": [int(c) for _, c in stages]},
        schema={"stage": pl.String, "count": pl.Int64},
    )


def _keyed(walk: Walk, rows: NDArray[np.void]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "known_at": _instants(walk, rows["bar"]),
            "symbol": _names(rows["symbol"], walk.panel.symbols, "symbol"),
        }
    )


def _instants(walk: Walk, bars: Counts) -> pl.Series:
    first = pl.Series([walk.panel.first], dtype=pl.Datetime("us", "UTC"))
    step = walk.panel.timeframe // timedelta(microseconds=1)
    counted = first.to_physical()[0] + np.asarray(bars, np.int64) * step
    return pl.Series(counted).cast(pl.Datetime("us", "UTC"))


def _names(index: Counts, names: Sequence[str], column: str) -> pl.Series:
    return pl.Series(column, list(names), dtype=pl.String).gather(index)


def _causes(cause: Counts, column: str) -> pl.Series:
    return _names(cause - SIGNAL, [cause_of(i) for i in range(SIGNAL, len(RULES))], column)


def _sides(quantity: Counts) -> pl.Series:
    return _names((quantity < 0).astype(np.int64), ("buy", "sell"), "side")


def _relative(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where `below` is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0.0, above / below, np.nan)
