"""The compiled engine against a twin written to be read: equal to the last 1e-8 on random markets.

The twin holds whole numbers of 1e-8 in Python integers and walks one symbol at a time through the
order of events of the design. Nothing in it is imported from the engine but the shapes of its input.
"""

import math
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import CostConfig, RiskConfig
from serving.engine import run
from serving.limits import Limits, limits_of
from serving.market import Market
from serving.risk.names import RULES
from serving.signals import Signals
from serving.state import State, new_state
from serving.tape import CUTS, FILLS, KINDS, ORDERS, new_tape

ONE = 10**8
RANGE_TO_SIGMA = 1 / (2 * math.sqrt(math.log(2)))


@dataclass
class Position:
    quantity: int = 0
    cost: int = 0
    stop: float = 0.0
    age: int = 0
    cooldown: int = 0
    last_close: float = math.nan
    pending: int = 0
    pending_stop: float = 0.0


@dataclass
class Twin:
    market: Market
    signals: Signals
    limits: Limits
    cash: int
    peak: int = 0
    equity: int = 0
    fees: int = 0
    traded: int = 0
    funding: int = 0
    positions: list[Position] = field(default_factory=list)
    orders: list[tuple] = field(default_factory=list)
    fills: list[tuple] = field(default_factory=list)
    cuts: list[tuple] = field(default_factory=list)
    curve: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.peak = self.equity = self.cash
        self.positions = [Position() for _ in range(self.market.close.shape[1])]

    def walk(self) -> None:
        for t in range(self.market.close.shape[0]):
            self.bar(t)

    def bar(self, t: int) -> None:  # noqa: PLR0912, the order of events on one page
        m, n = self.market, len(self.positions)
        room = [self.room(t, s) for s in range(n)]
        for sign in (-1, 1):
            for s, p in enumerate(self.positions):
                if p.pending * sign > 0 and m.open[t, s] > 0:
                    self.fill(t, s, p.pending, m.open[t, s], "market", room)
        for p in self.positions:
            p.pending, p.pending_stop = 0, 0.0
        for s, p in enumerate(self.positions):
            p.cooldown = max(p.cooldown - 1, 0)
            if p.stop > 0 and m.low[t, s] <= p.stop:
                self.orders.append((t, s, "stop", -p.quantity, p.stop, 0.0, 0.0))
                self.fill(t, s, -p.quantity, min(m.open[t, s], p.stop), "stop", room)
                p.cooldown = self.limits.stop_cooldown_bars
        for s, p in enumerate(self.positions):
            if p.quantity:
                p.age += 1
                rate, close = m.funding_rate[t, s], m.close[t, s]
                if rate != 0 and close > 0:
                    paid = round(round(p.quantity * close) * rate)
                    self.cash -= paid
                    self.funding += paid
                    self.fills.append((t, s, "funding", 0, close, close, paid, 0, -paid))
        exposure = 0
        for s, p in enumerate(self.positions):
            if m.close[t, s] > 0:
                p.last_close = m.close[t, s]
            if p.quantity:
                exposure += round(p.quantity * p.last_close)
        self.equity = self.cash + exposure
        self.peak = max(self.peak, self.equity)
        self.curve.append((self.equity, self.cash, exposure))
        if self.equity > 0:
            self.decide(t)

    def room(self, t: int, s: int) -> int:
        volume = self.market.volume[t, s]
        return int(min(self.limits.participation_cap * volume * ONE, 4e18)) if volume > 0 else 0

    def slippage(self, t: int, s: int, size: int) -> float:
        limits, m = self.limits, self.market
        volume = m.volume[t, s]
        if limits.slippage_model == 0 or not volume > 0:
            return limits.slippage_rate
        sigma = (m.high[t, s] - m.low[t, s]) / (0.5 * (m.high[t, s] + m.low[t, s])) * RANGE_TO_SIGMA
        share = size / ONE / volume
        if limits.slippage_model == 2:
            share = math.sqrt(share)
        return limits.slippage_rate + limits.impact_coefficient * sigma * share

    def on_tick(self, s: int, price: float, up: bool) -> float:
        tick = self.market.tick[s]
        if tick == 0:
            return price
        steps = math.ceil(price / tick - 1e-9) if up else math.floor(price / tick + 1e-9)
        return round(max(steps, 1) * tick * ONE) / ONE

    def fill(self, t: int, s: int, wanted: int, reference: float, kind: str, room: list) -> None:
        p, lot, rate = self.positions[s], int(self.market.lot[s]), self.limits.taker_fee_rate
        size = min(abs(wanted), room[s]) // lot * lot
        if size == 0:
            return
        slip = self.slippage(t, s, size)
        buying = wanted > 0
        moved = reference * (1 + slip) if buying else reference * max(1 - slip, 0.01)
        price = self.on_tick(s, moved, buying)

        def bill(size: int) -> tuple[int, int]:
            notional = round(size * price)
            return notional, round(notional * rate)

        if buying and sum(bill(size)) > self.cash:
            size = int(min(max(self.cash, 0) / (price * (1 + rate)), float(size))) // lot * lot
            while size > 0 and sum(bill(size)) > self.cash:
                size -= lot
            if size <= 0:
                return
        notional, fee = bill(size)
        room[s] -= size
        self.fees += fee
        self.traded += notional
        if buying:
            level = 0.0
            if 0 < p.pending_stop < price:
                level = self.on_tick(s, price - p.pending_stop, False)
            p.stop = level if p.quantity == 0 else max(p.stop, level)
            self.cash -= notional + fee
            p.cost += notional + fee
            p.quantity += size
            realised = 0
        else:
            basis = p.cost if size == p.quantity else round(p.cost * (size / p.quantity))
            self.cash += notional - fee
            p.cost -= basis
            p.quantity -= size
            realised = notional - fee - basis
            if p.quantity == 0:
                p.stop, p.age = 0.0, 0
        signed = size if buying else -size
        self.fills.append((t, s, kind, signed, reference, price, notional, fee, realised))

    def decide(self, t: int) -> None:
        m, n = self.market, len(self.positions)
        current = [
            p.quantity * p.last_close / self.equity if p.quantity else 0.0 for p in self.positions
        ]
        asked = [self.signals.desired[t, s] for s in range(n)]
        frozen = [not m.close[t, s] > 0 or math.isnan(asked[s]) for s in range(n)]
        targets = [c if f else a for c, f, a in zip(current, frozen, asked, strict=True)]
        if self.limits.rules_apply:
            self.rules(t, targets, current, frozen)
        for s, p in enumerate(self.positions):
            if targets[s] == current[s]:
                continue
            close, lot, goal = m.close[t, s], int(m.lot[s]), 0
            if targets[s] > 0:
                goal = int(min(targets[s] * self.equity / close, 4e18)) // lot * lot
            change = goal - p.quantity
            if change == 0 or (goal and abs(change) * close < m.minimum_notional[s]):
                self.cut(t, s, "venue_filters", targets[s], current[s])
                continue
            stop = self.signals.stop_fraction[t, s]
            p.pending = change
            p.pending_stop = stop * close if change > 0 and stop > 0 else 0.0
            self.orders.append((t, s, "market", change, close, p.pending_stop, targets[s]))

    def cut(self, t: int, s: int, rule: str, asked: float, allowed: float) -> float:
        self.cuts.append((t, s, rule, asked, allowed))
        return allowed

    def rules(self, t: int, targets: list, current: list, frozen: list) -> None:
        limits, g, n = self.limits, self.signals, len(targets)

        def cap(rule: str, allowed_of) -> None:
            for s in range(n):
                if not frozen[s] and targets[s] > (allowed := allowed_of(s)):
                    targets[s] = self.cut(t, s, rule, targets[s], allowed)

        for s in range(n):
            if not frozen[s] and targets[s] < 0:
                targets[s] = self.cut(t, s, "long_only", targets[s], 0.0)
        for s, p in enumerate(self.positions):
            if 0 < limits.max_holding_bars <= p.age and self.market.close[t, s] > 0:
                if targets[s] > 0:
                    self.cut(t, s, "holding_period", targets[s], 0.0)
                targets[s], frozen[s] = 0.0, True
        cap("cooldown", lambda s: current[s] if self.positions[s].cooldown else math.inf)

        def by(budget: float, per_weight):
            def allowed(s: int) -> float:
                each = per_weight[t, s]
                return budget / each if each > 0 else current[s]

            return allowed

        cap("volatility_target", by(limits.bar_volatility_target, g.sigma))
        cap("risk_per_trade", by(limits.risk_per_trade, g.stop_fraction))
        cap("asset_cap", lambda s: limits.max_asset_weight)
        self.band(t, targets, current, frozen)
        self.keep_strongest(t, targets, current, frozen)
        self.keep_within_gross(t, targets, current, frozen)

    def band(self, t: int, targets: list, current: list, frozen: list) -> None:
        limits, g = self.limits, self.signals
        for s in range(len(targets)):
            change = targets[s] - current[s]
            if frozen[s] or change == 0:
                continue
            trade = abs(change) >= limits.minimum_weight_change or targets[s] == 0
            edge = g.edge[t, s]
            if trade and not math.isnan(edge):
                size = int(min(abs(change) * self.equity / self.market.close[t, s], 4e18))
                cost = 2.0 * (limits.taker_fee_rate + self.slippage(t, s, size)) * abs(change)
                curvature = g.variance[t, s] / (2.0 * limits.kelly_fraction)
                gain = change * (edge - curvature * (targets[s] + current[s]))
                trade = gain > limits.no_trade_band * cost
            if trade:
                continue
            kept = current[s]
            ceiling = min(
                limits.bar_volatility_target / g.sigma[t, s] if g.sigma[t, s] > 0 else math.inf,
                limits.risk_per_trade / g.stop_fraction[t, s]
                if g.stop_fraction[t, s] > 0
                else math.inf,
                limits.max_asset_weight,
            )
            if kept - ceiling >= limits.minimum_weight_change:
                kept = max(ceiling, targets[s])
            if kept != targets[s]:
                targets[s] = self.cut(t, s, "no_trade_band", targets[s], kept)

    def keep_strongest(self, t: int, targets: list, current: list, frozen: list) -> None:
        count = sum(w > 0 for w in targets)
        movable = [s for s, w in enumerate(targets) if w > 0 and not frozen[s]]
        weakest_first = sorted(
            movable, key=lambda s: (current[s] > 0, self.signals.desired[t, s], -s)
        )
        for s in weakest_first[: max(count - self.limits.max_positions, 0)]:
            targets[s] = self.cut(t, s, "position_cap", targets[s], 0.0)

    def keep_within_gross(self, t: int, targets: list, current: list, frozen: list) -> None:
        fixed = kept = wanted = 0.0
        for s, target in enumerate(targets):
            if frozen[s]:
                fixed += target
            else:
                kept += min(target, current[s])
                wanted += target - min(target, current[s])
        room = self.limits.max_gross_weight - fixed - kept
        if wanted <= room:
            return
        share = max(room, 0.0) / wanted if wanted > 0 else 0.0
        keep = max(self.limits.max_gross_weight - fixed, 0.0) / kept if room < 0 < kept else 1.0
        for s, target in enumerate(targets):
            if frozen[s] or target == 0:
                continue
            base = min(target, current[s])
            more = (target - base) * share
            allowed = base * keep + (more if more >= self.limits.minimum_weight_change else 0.0)
            if allowed < target:
                targets[s] = self.cut(t, s, "gross_cap", target, allowed)


def random_market(seed: int, bars: int, n: int) -> Market:
    """Walks with crashes, gaps, silent bars, empty bars and delistings."""
    rng = np.random.default_rng(seed)
    shape = (bars, n)
    moves = rng.standard_t(3, shape) * rng.choice([0.002, 0.01, 0.05], n)
    close = rng.choice([0.02, 3.0, 40_000.0], n) * np.exp(np.cumsum(moves, axis=0))
    open_ = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.004, shape))
    reach = np.abs(rng.normal(0, 0.006, (2, *shape)))
    high = np.maximum(open_, close) * (1 + reach[0])
    low = np.minimum(open_, close) * (1 - np.minimum(reach[1], 0.9))
    volume = rng.exponential(rng.choice([1e3, 1e6], n) / close[0], shape)
    volume[rng.random(shape) < 0.1] = 0.0
    gap = rng.random(shape) < rng.choice([0.0, 0.15])
    for s in range(n):
        if rng.random() < 0.2:
            gap[rng.integers(bars) :, s] = True
    for array in (open_, high, low, close, volume):
        array[gap] = np.nan
    return Market(
        open_,
        high,
        low,
        close,
        volume,
        np.where(rng.random(shape) < 0.1, rng.normal(0, 1e-3, shape), 0.0),
        rng.choice([1, 1_000, 10_000_000], n),
        rng.choice([0.0, 0.0001, 0.01], n),
        rng.choice([0, 5 * ONE], n),
    )


def random_signals(seed: int, bars: int, n: int) -> Signals:
    rng = np.random.default_rng(seed + 1)
    shape = (bars, n)

    def holes(array: np.ndarray, share: float) -> np.ndarray:
        array[rng.random(shape) < share] = np.nan
        return array

    desired = holes(rng.normal(0.2, 0.5, shape), 0.15)
    desired[rng.random(shape) < 0.1] = 0.0
    return Signals(
        desired,
        holes(rng.normal(0.003, 0.01, shape), 0.3),
        np.full(shape, 9e-4),
        holes(np.abs(rng.normal(0.01, 0.005, shape)), 0.05),
        holes(np.abs(rng.normal(0.02, 0.01, shape)), 0.05),
    )


def random_limits(seed: int) -> Limits:
    rng = np.random.default_rng(seed + 2)
    costs = CostConfig(
        slippage_model=str(rng.choice(["fixed", "volume", "sqrt"])),
        participation_cap=float(rng.choice([0.01, 0.3, 1.0])),
        taker_fee_rate=float(rng.choice([0.0, 0.001])),
    )
    risk = RiskConfig(
        max_positions=int(rng.integers(1, 5)),
        max_gross_weight=float(rng.choice([0.5, 1.0])),
        no_trade_band=float(rng.choice([0.0, 1.0, 3.0])),
        minimum_weight_change=float(rng.choice([0.0, 0.01, 0.1])),
        max_holding_bars=int(rng.choice([0, 3, 9])),
        stop_cooldown_bars=int(rng.choice([0, 4])),
    )
    return limits_of(costs, risk, timedelta(hours=1), rules_apply=bool(rng.random() < 0.9))


def engine(market: Market, signals: Signals, limits: Limits, cash: int) -> tuple[State, dict]:
    bars, n = market.close.shape
    state, tape = new_state(n, cash), new_tape(bars, n, recording=True)
    run(market, signals, state, limits, tape)
    names = {"orders": KINDS, "fills": KINDS, "cuts": RULES}
    used = {"orders": ORDERS, "fills": FILLS, "cuts": CUTS}
    rows = {
        table: [
            (bar, s, names[table][kind], *rest)
            for bar, s, kind, *rest in getattr(tape, table)[: tape.used[used[table]]].tolist()
        ]
        for table in names
    }
    return state, rows | {"curve": [tuple(row) for row in tape.curve.tolist()]}


@settings(max_examples=400)
@given(
    seed=st.integers(0, 2**32 - 1),
    bars=st.integers(1, 50),
    n=st.integers(1, 5),
    cash=st.sampled_from([1_000, 100_000, 30_000_000]),
)
def test_the_compiled_engine_equals_its_twin_on_random_markets(
    seed: int, bars: int, n: int, cash: int
) -> None:
    market, signals = random_market(seed, bars, n), random_signals(seed, bars, n)
    limits = random_limits(seed)
    twin = Twin(market, signals, limits, cash * ONE)
    twin.walk()
    state, found = engine(market, signals, limits, cash)
    assert found["curve"] == twin.curve
    assert found["orders"] == twin.orders
    assert found["fills"] == twin.fills
    assert sorted(found["cuts"]) == sorted(twin.cuts)
    assert state.money.tolist() == [
        twin.cash, twin.equity, twin.peak, twin.fees, twin.traded, twin.funding
    ]  # fmt: skip
    for s, position in enumerate(twin.positions):
        mine = [getattr(state, name)[s].item() for name in State._fields[1:]]
        theirs = [getattr(position, name) for name in State._fields[1:]]
        assert mine == pytest.approx(theirs, rel=0, abs=0, nan_ok=True)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 39))
def test_a_walk_in_two_pieces_is_the_walk_in_one(seed: int, cut: int) -> None:
    market, signals, limits = (
        random_market(seed, 40, 3),
        random_signals(seed, 40, 3),
        random_limits(seed),
    )
    whole, _ = engine(market, signals, limits, 100_000)
    state = new_state(3, 100_000)
    for part in (slice(None, cut), slice(cut, None)):
        some = Market(*(a[part].copy() for a in market[:6]), *market[6:])
        said = Signals(*(a[part].copy() for a in signals))
        run(some, said, state, limits, new_tape(some.close.shape[0], 3, recording=False))
    for mine, theirs in zip(state, whole, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1))
def test_money_is_conserved_and_nothing_is_owed(seed: int) -> None:
    market, signals, limits = (
        random_market(seed, 40, 4),
        random_signals(seed, 40, 4),
        random_limits(seed),
    )
    state, found = engine(market, signals, limits, 100_000)
    cash, held = 100_000 * ONE, [0] * 4
    for _, s, kind, quantity, _, _, notional, fee, _ in found["fills"]:
        sign = (quantity > 0) - (quantity < 0)
        cash -= notional if kind == "funding" else sign * notional + fee
        held[s] += quantity
    assert cash == state.money[0]
    assert held == state.quantity.tolist()
    assert min(held) >= 0
    worth = sum(round(q * c) for q, c in zip(held, state.last_close.tolist(), strict=True) if q)
    assert state.money[1] == cash + worth
