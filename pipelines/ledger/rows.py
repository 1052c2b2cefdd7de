"""One book's hour as rows of the ledger. Ids are functions of book, symbol, instant and kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import numpy as np

from pipelines.clock import format_instant
from serving.books import Walk
from serving.risk.names import RULES, cause_of, reason_of
from serving.state import CASH, EQUITY, PEAK, SIGNAL, state_to_json, to_decimal
from serving.tape import (
    CURVE_EXPOSURE,
    CUTS,
    FILLS,
    FUNDING_PAYMENT,
    KINDS,
    LIMIT,
    MARKET,
    ORDERS,
    STOP,
    TRADES,
)

NAMESPACE = UUID("6f0b1f3e-5a0f-5b7e-9f63-0b8f9a4c2d11")

# Orders of a close, which live one bar; the others are protective exits, which fire inside theirs.
_RESTING = (MARKET, LIMIT, STOP)
_AT_ONCE = timedelta(0)
_BPS = 1e4
_BY_SIGNAL = "the signal asked for it"
_EXITS = (
    _BY_SIGNAL,
    _BY_SIGNAL,
    _BY_SIGNAL,
    "the price reached its stop loss",
    "the price reached its target",
    "the price came back to its trailing stop",
)

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class BookHour:
    """One book walked through one bar: `walk` spans exactly the bar known at `known_at`."""

    book_id: UUID
    name: str
    known_at: datetime
    walk: Walk
    capital: Decimal | None = None


def id_of(*parts: object) -> UUID:
    """Return the id of what is named by `parts`: the same parts, the same id."""
    texts = (format_instant(p) if isinstance(p, datetime) else str(p) for p in parts)
    return uuid5(NAMESPACE, "|".join(texts))


def assets_of(symbol: str) -> tuple[str, str]:
    """Return (base, quote) of a unified symbol; a contract is its own base asset."""
    pair, _, settled = symbol.partition(":")
    base, _, quote = pair.partition("/")
    return (symbol, settled) if settled else (base, quote)


def rows_of(hour: BookHour) -> Rows:
    """Return the rows of every hourly table, columns in the order of the schema."""
    fills = list(_fills(hour))
    return {
        "orders": list(_orders(hour)),
        "fills": fills,
        "postings": [*_capital(hour), *_fill_postings(hour, fills), *_funding_postings(hour)],
        "equity": [_equity(hour)],
        "risk_events": list(_risk_events(hour)),
        "signals": list(_signals(hour)),
        "trades": list(_trades(hour)),
    }


def _orders(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    tape, panel = hour.walk.tape, hour.walk.panel
    for row in tape.orders[: tape.used[ORDERS]]:
        symbol, kind = panel.symbols[row["symbol"]], int(row["kind"])
        lives = panel.timeframe if kind in _RESTING else _AT_ONCE
        yield (
            id_of(hour.book_id, symbol, hour.known_at, KINDS[kind]),
            hour.book_id,
            symbol,
            hour.known_at,
            hour.known_at + lives,
            KINDS[kind],
            _side(row["quantity"]),
            to_decimal(abs(row["quantity"])),
            float(row["reference"]),
            float(row["stop_distance"]),
            float(row["weight"]),
            float(row["price"]),
            cause_of(int(row["cause"])),
        )


def _fills(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    tape, panel = hour.walk.tape, hour.walk.panel
    for ordinal, row in enumerate(tape.fills[: tape.used[FILLS]]):
        kind = int(row["kind"])
        if kind == FUNDING_PAYMENT:
            continue
        symbol = panel.symbols[row["symbol"]]
        decided = hour.known_at - (panel.timeframe if kind in _RESTING else _AT_ONCE)
        order_id = id_of(hour.book_id, symbol, decided, KINDS[kind])
        yield (
            id_of(order_id, "fill", hour.known_at),
            order_id,
            hour.book_id,
            symbol,
            hour.known_at,
            KINDS[kind],
            _side(row["quantity"]),
            to_decimal(abs(row["quantity"])),
            float(row["reference"]),
            float(row["price"]),
            to_decimal(row["notional"]),
            to_decimal(row["fee"]),
            to_decimal(row["realised"]),
            ordinal,
            cause_of(int(row["cause"])),
            *_execution_costs(row),
        )


def _execution_costs(row: np.void) -> tuple[float, ...]:
    """Return arrival price, then spread, impact, slippage against arrival and fee [1e-4 of the price].

    Slippage is what the price moved against the order between its decision and its fill, costs
    included; negative is a gain.
    """
    arrival, price = float(row["arrival"]), float(row["price"])
    sign = 1 if row["quantity"] > 0 else -1
    notional = float(row["notional"])
    return (
        arrival,
        float(row["spread_rate"]) * _BPS,
        float(row["impact_rate"]) * _BPS,
        sign * ((price - arrival) / arrival) * _BPS,
        float(row["fee"]) / notional * _BPS if notional else 0.0,
    )


def _trades(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    tape, panel = hour.walk.tape, hour.walk.panel
    for row in tape.trades[: tape.used[TRADES]]:
        symbol, age, cause = panel.symbols[row["symbol"]], int(row["age"]), int(row["cause"])
        entered_at = hour.known_at - age * panel.timeframe
        risk, gain = float(row["risk"]), float(row["realised"]) / float(row["invested"])
        yield (
            id_of(hour.book_id, symbol, hour.known_at, "trade"),
            hour.book_id,
            symbol,
            hour.known_at,
            entered_at - panel.timeframe,
            entered_at,
            "long" if row["side"] > 0 else "short",
            age,
            to_decimal(row["quantity"]),
            float(row["entry_price"]),
            float(row["exit_price"]),
            to_decimal(row["invested"]),
            to_decimal(row["realised"]),
            to_decimal(row["fees"]),
            to_decimal(row["funding"]),
            float(row["mae"]),
            float(row["mfe"]),
            risk or None,
            gain / risk if risk else None,
            _number(row["edge"]),
            KINDS[row["kind"]],
            cause_of(cause),
            _EXITS[row["kind"]] if cause == SIGNAL else reason_of(cause, hour.walk.limits),
        )


def _capital(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    if hour.capital is not None:
        currency = assets_of(hour.walk.panel.symbols[0])[1]
        entry = id_of(hour.book_id, "capital")
        yield from _entry(
            hour,
            entry,
            "capital",
            [("cash", currency, hour.capital), ("capital", currency, -hour.capital)],
        )


def _fill_postings(hour: BookHour, fills: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for fill_id, _, _, symbol, _, _, side, quantity, _, _, notional, fee, *_ in fills:
        base, quote = assets_of(symbol)
        sign = 1 if side == "buy" else -1
        amounts = [
            ("inventory", base, sign * quantity),
            ("exchange", base, -sign * quantity),
            ("cash", quote, -sign * notional - fee),
            ("exchange", quote, sign * notional),
            ("fees", quote, fee),
        ]
        yield from _entry(hour, fill_id, "fill", amounts)


def _funding_postings(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    tape, panel = hour.walk.tape, hour.walk.panel
    for row in tape.fills[: tape.used[FILLS]]:
        if row["kind"] == FUNDING_PAYMENT:
            symbol = panel.symbols[row["symbol"]]
            quote = assets_of(symbol)[1]
            paid = to_decimal(row["notional"])
            entry = id_of(hour.book_id, symbol, hour.known_at, "funding")
            yield from _entry(
                hour, entry, "funding", [("cash", quote, -paid), ("funding", quote, paid)]
            )


def _entry(
    hour: BookHour, entry: UUID, kind: str, amounts: list[tuple[str, str, Decimal]]
) -> Iterator[tuple[Any, ...]]:
    for account, asset, amount in amounts:
        yield (entry, account, asset, hour.book_id, hour.known_at, kind, amount)


def _equity(hour: BookHour) -> tuple[Any, ...]:
    walk = hour.walk
    money = walk.state.money
    return (
        hour.book_id,
        hour.known_at,
        to_decimal(money[EQUITY]),
        to_decimal(money[CASH]),
        to_decimal(walk.tape.curve[0, CURVE_EXPOSURE]),
        to_decimal(money[PEAK]),
        float(money[EQUITY] / money[PEAK] - 1.0),
        state_to_json(walk.state, walk.panel.symbols),
    )


def _risk_events(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    tape, panel = hour.walk.tape, hour.walk.panel
    for row in tape.cuts[: tape.used[CUTS]]:
        rule = int(row["rule"])
        yield (
            hour.book_id,
            hour.known_at,
            panel.symbols[row["symbol"]],
            RULES[rule],
            float(row["asked"]),
            float(row["allowed"]),
            reason_of(rule, hour.walk.limits),
        )


def _signals(hour: BookHour) -> Iterator[tuple[Any, ...]]:
    signals, targets = hour.walk.signals, hour.walk.tape.targets
    for i in np.flatnonzero(~np.isnan(signals.desired[0])):
        yield (
            hour.book_id,
            hour.known_at,
            hour.walk.panel.symbols[i],
            float(signals.desired[0, i]),
            _number(targets[0, i]),
            _number(signals.edge[0, i]),
            _number(signals.sigma[0, i]),
            _number(signals.stop_fraction[0, i]),
        )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _side(quantity: int) -> str:
    return "buy" if quantity > 0 else "sell"
