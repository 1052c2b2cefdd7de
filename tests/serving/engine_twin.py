"""The engine once more, in plain Python: easier to read than to doubt.

It holds whole numbers of 1e-8 in Python integers and walks one bar after the other through the order
of events of the design; the risk rules are those of `rules_twin`. Nothing is imported from the engine
but the shapes of its input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import rules_twin

from serving.controls import Controls
from serving.limits import Limits
from serving.market import Market
from serving.signals import Signals

ONE = 10**8
RANGE_TO_SIGMA = 1 / (2 * math.sqrt(math.log(2)))
NAN = math.nan
ENTRIES = ("market", "limit", "stop")


@dataclass
class Order:
    """What the last close decided; lives one bar."""

    quantity: int
    kind: str
    price: float
    stop_distance: float
    edge: float
    cause: str


@dataclass
class Position:
    """One symbol of the book."""

    quantity: int = 0
    cost: int = 0
    stop: float = 0.0
    target: float = 0.0
    trail: float = 0.0
    age: int = 0
    exiting: str = ""
    highest: float = 0.0
    lowest: float = 0.0
    risk: float = 0.0
    edge: float = NAN
    entered: int = 0
    invested: int = 0
    returned: int = 0
    fees: int = 0
    funding: int = 0

    @property
    def side(self) -> int:
        return (self.quantity > 0) - (self.quantity < 0)


@dataclass
class Twin:
    """One book; `walk` takes it through all bars."""

    market: Market
    signals: Signals
    controls: Controls
    limits: Limits
    cash: int
    fees: int = 0
    traded: int = 0
    funding: int = 0
    halted: bool = False
    ramp_steps: int = 0
    fee_tier: int = 0
    today: int = 0
    days: list[int] = field(default_factory=lambda: [0] * 30)
    track: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    orders: list[tuple] = field(default_factory=list)
    fills: list[tuple] = field(default_factory=list)
    cuts: list[tuple] = field(default_factory=list)
    trades: list[tuple] = field(default_factory=list)
    curve: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = self.market.close.shape[1]
        self.equity = self.peak = self.day = self.week = self.month = self.cash
        self.symbols = range(n)
        self.positions = [Position() for _ in self.symbols]
        self.waiting: list[Order | None] = [None] * n
        self.cooldown = [0] * n
        self.last_close = [NAN] * n

    def walk(self) -> None:
        for t in range(self.market.close.shape[0]):
            self.bar(t)

    def bar(self, t: int) -> None:
        m = self.market
        self.room = [self.capacity(t, s) for s in self.symbols]
        self.rested = [False] * len(self.symbols)
        self.cooldown = [max(bars - 1, 0) for bars in self.cooldown]
        self.fill_orders(t)
        for s in self.symbols:
            if self.positions[s].quantity and not self.positions[s].exiting:
                self.protect(t, s)
        self.pay_funding(t)
        self.mark(t)
        if m.calendar[t] & 1:
            self.begin_day(int(m.calendar[t]))
        if self.equity > 0:
            self.decide(t)

    # Orders of the last close.

    def fill_orders(self, t: int) -> None:
        """What leaves, then what grows at the open, then what rests."""
        opened = self.market.open[t]
        here = [s for s in self.symbols if opened[s] > 0]
        for s in here:
            p, order = self.positions[s], self.waiting[s]
            if p.exiting:
                self.go_on_exiting(t, s)
            elif order and order.quantity * p.quantity < 0:
                self.fill(t, s, order.quantity, opened[s], order.kind, self.last_close[s], order)
                self.waiting[s] = None
        for s in here:
            if (order := self.waiting[s]) and order.kind == "market":
                self.fill(t, s, order.quantity, opened[s], "market", self.last_close[s], order)
        for s in here:
            if (order := self.waiting[s]) and order.kind != "market":
                self.fill_resting(t, s, order)
        self.waiting = [None] * len(self.symbols)

    def go_on_exiting(self, t: int, s: int) -> None:
        p, opened = self.positions[s], self.market.open[t, s]
        kind = p.exiting
        level = {"stop_loss": p.stop, "trailing_stop": p.trail, "take_profit": p.target}[kind]
        self.orders.append((t, s, kind, -p.quantity, level, 0.0, 0.0, 0.0, "signal"))
        if kind != "take_profit":
            self.cooldown[s] = self.limits.stop_cooldown_bars
        self.fill(t, s, -p.quantity, opened, kind, level, None)

    def fill_resting(self, t: int, s: int, order: Order) -> None:
        m, level = self.market, order.price
        waits_below = (order.kind == "limit") == (order.quantity > 0)
        if waits_below and m.low[t, s] <= level:
            reference = min(m.open[t, s], level)
        elif not waits_below and m.high[t, s] >= level:
            reference = max(m.open[t, s], level)
        else:
            return
        before = self.positions[s].quantity
        maker = order.kind == "limit"
        self.fill(
            t, s, order.quantity, reference, order.kind, self.last_close[s], order, maker=maker
        )
        self.rested[s] = self.positions[s].quantity != before

    # Protective exits.

    def protect(self, t: int, s: int) -> None:
        """Stop loss and trailing stop, the nearer first; then the take profit."""
        m, p = self.market, self.positions[s]
        # Turned upside down a short is a long: prices fall where they rise.
        up = p.side
        worst, best = (m.low[t, s], m.high[t, s]) if up > 0 else (m.high[t, s], m.low[t, s])
        opened = m.open[t, s]
        touched = [
            (level * up, kind, level)
            for kind, level in (("trailing_stop", p.trail), ("stop_loss", p.stop))
            if level > 0 and worst * up <= level * up
        ]
        new = self.rested[s] and p.age == 0
        if touched:
            _, kind, level = max(touched, key=lambda found: (found[0], found[1] == "stop_loss"))
            reference = level if new else min(opened * up, level * up) * up
        elif p.target > 0 and best * up >= p.target * up and not self.rested[s]:
            kind, level = "take_profit", p.target
            reference = max(opened * up, level * up) * up
        else:
            return
        profit = kind == "take_profit"
        self.orders.append((t, s, kind, -p.quantity, level, level, 0.0, 0.0, "signal"))
        self.fill(t, s, -p.quantity, reference, kind, level, None, maker=profit)
        if p.quantity:
            p.exiting = kind
        if not profit:
            self.cooldown[s] = self.limits.stop_cooldown_bars

    # Fills.

    def capacity(self, t: int, s: int) -> int:
        volume = self.market.volume[t, s]
        return int(min(self.limits.participation_cap * volume * ONE, 4e18)) if volume > 0 else 0

    def slippage(self, t: int, s: int, size: int) -> float:
        limits, m = self.limits, self.market
        if limits.slippage_model == 0:
            return limits.slippage_rate
        volume = m.volume[t, s]
        if not volume > 0:
            return 0.0
        sigma = (m.high[t, s] - m.low[t, s]) / (0.5 * (m.high[t, s] + m.low[t, s])) * RANGE_TO_SIGMA
        share = float(size) / ONE / volume
        return (
            limits.impact_coefficient
            * sigma
            * (math.sqrt(share) if limits.slippage_model == 2 else share)
        )

    def on_tick(self, s: int, price: float, up: bool) -> float:
        tick = self.market.tick[s]
        if tick == 0:
            return price
        steps = math.ceil(price / tick - 1e-9) if up else math.floor(price / tick + 1e-9)
        return round(max(steps, 1) * tick * ONE) / ONE

    def free_cash(self) -> int:
        shorts = sum(
            round(-p.quantity * close)
            for p, close in zip(self.positions, self.last_close, strict=True)
            if p.quantity < 0
        )
        return self.cash - 2 * shorts

    def fill(
        self,
        t: int,
        s: int,
        wanted: int,
        reference: float,
        kind: str,
        arrival: float,
        order: Order | None,
        *,
        maker: bool = False,
    ) -> None:
        p, limits, lot = self.positions[s], self.limits, int(self.market.lot[s])
        buying, growing = wanted > 0, wanted * p.quantity >= 0
        size = min(abs(wanted), self.room[s])
        if growing or size < abs(p.quantity):
            size = size // lot * lot
        if size == 0:
            return
        spread, impact, price = 0.0, 0.0, reference
        if not maker:
            spread, impact = limits.half_spread_rate, self.slippage(t, s, size)
            rate = spread + impact
            moved = reference * (1 + rate) if buying else reference * max(1 - rate, 0.01)
            price = self.on_tick(s, moved, buying)
        rates = limits.tier_maker_fee_rate if maker else limits.tier_taker_fee_rate
        fee_rate = rates[self.fee_tier].item()
        if growing:
            size = self.affordable(size, price, fee_rate, lot)
            if size == 0:
                return
        notional = round(size * price)
        fee = round(notional * fee_rate)
        self.room[s] -= size
        self.fees += fee
        self.traded += notional
        self.today += notional
        signed = size if buying else -size
        if growing:
            assert order is not None
            realised = 0
            self.enter(s, signed, price, notional, fee, order)
        else:
            realised = self.leave(s, signed, price, notional, fee)
        cause = order.cause if order else "signal"
        self.fills.append(
            (t, s, kind, signed, arrival, reference, price, spread, impact, notional, fee,
             realised, cause)
        )  # fmt: skip
        if p.quantity == 0:
            self.end_trade(t, s, -1 if buying else 1, kind, cause)

    def affordable(self, size: int, price: float, fee_rate: float, lot: int) -> int:
        free = self.free_cash()

        def bill(size: int) -> int:
            notional = round(size * price)
            return notional + round(notional * fee_rate)

        if bill(size) <= free:
            return size
        size = int(min(max(free, 0) / (price * (1 + fee_rate)), float(size))) // lot * lot
        while size > 0 and bill(size) > free:
            size -= lot
        return max(size, 0)

    def enter(
        self, s: int, signed: int, price: float, notional: int, fee: int, order: Order
    ) -> None:
        p, up = self.positions[s], 1 if signed > 0 else -1
        if p.quantity == 0:
            p.highest = p.lowest = price
            p.edge = order.edge
        level = self.behind(s, price, order.stop_distance, up)
        if order.stop_distance > 0 and level > 0:
            if p.stop == 0 or level * up > p.stop * up:
                p.stop = level
            if p.risk == 0:
                self.set_targets(s, up, price, order.stop_distance)
        paid = notional * up + fee
        self.cash -= paid
        p.cost += paid
        p.quantity += signed
        p.entered += abs(signed)
        p.invested += notional
        p.fees += fee

    def set_targets(self, s: int, up: int, price: float, risk: float) -> None:
        p, limits = self.positions[s], self.limits
        p.risk = risk
        wish = price + up * limits.target_r * risk
        if limits.target_r > 0 and wish > 0:
            p.target = self.on_tick(s, wish, up > 0)
        if limits.trail_r > 0:
            p.trail = self.behind(s, price, limits.trail_r * risk, up)

    def behind(self, s: int, price: float, distance: float, up: int) -> float:
        level = price - up * distance
        return self.on_tick(s, level, up < 0) if level > 0 else 0.0

    def leave(self, s: int, signed: int, price: float, notional: int, fee: int) -> int:
        p, size = self.positions[s], abs(signed)
        held = abs(p.quantity)
        basis = p.cost if size == held else round(p.cost * (float(size) / float(held)))
        got = notional * p.side - fee
        self.cash += got
        p.cost -= basis
        p.quantity += signed
        p.returned += notional
        p.fees += fee
        p.highest, p.lowest = max(p.highest, price), min(p.lowest, price)
        return got - basis

    def end_trade(self, t: int, s: int, up: int, kind: str, cause: str) -> None:
        p = self.positions[s]
        entry = float(p.invested) / float(p.entered)
        worst, best = (p.lowest, p.highest) if up > 0 else (p.highest, p.lowest)
        self.trades.append(
            (
                t, s, up, p.age, p.entered, entry, float(p.returned) / float(p.entered), p.invested,
                up * (p.returned - p.invested) - p.fees - p.funding, p.fees, p.funding,
                min(up * (worst / entry - 1), 0.0), max(up * (best / entry - 1), 0.0),
                p.risk / entry, p.edge, kind, cause,
            )
        )  # fmt: skip
        vars(p).update(vars(Position()))

    # The close.

    def pay_funding(self, t: int) -> None:
        for s, p in enumerate(self.positions):
            if not p.quantity:
                continue
            p.age += 1
            rate, close = self.market.funding_rate[t, s], self.market.close[t, s]
            if rate != 0 and close > 0:
                paid = round(round(p.quantity * close) * rate)
                self.cash -= paid
                self.funding += paid
                p.funding += paid
                self.fills.append(
                    (t, s, "funding", 0, close, close, close, 0.0, 0.0, paid, 0, -paid, "signal")
                )

    def mark(self, t: int) -> None:
        exposure = 0
        for s, p in enumerate(self.positions):
            close = self.market.close[t, s]
            if close > 0:
                self.last_close[s] = close.item()
            if p.quantity:
                exposure += round(p.quantity * self.last_close[s])
                if close > 0:
                    self.follow(t, s)
        before, self.equity = self.equity, self.cash + exposure
        if before > 0:
            change = float(self.equity) / float(before) - 1.0
            for i, term in enumerate((1.0, change, change * change)):
                self.track[i] += term
        self.peak = max(self.peak, self.equity)
        if self.controls.resumed[t]:
            self.halted, self.peak = False, self.equity
        if self.controls.restaged[t]:
            self.ramp_steps, self.track = 0, [0.0, 0.0, 0.0]
        self.curve.append((self.equity, self.cash, exposure))

    def follow(self, t: int, s: int) -> None:
        m, p = self.market, self.positions[s]
        high, low, close = (float(column[t, s]) for column in (m.high, m.low, m.close))
        if self.rested[s] and p.age == 1:
            high, low = (close, low) if p.side > 0 else (high, close)
        p.highest, p.lowest = max(p.highest, high), min(p.lowest, low)
        if self.limits.trail_r > 0 and p.risk > 0 and not p.exiting:
            best = p.highest if p.side > 0 else p.lowest
            level = self.behind(s, best, self.limits.trail_r * p.risk, p.side)
            if level > 0 and (p.trail == 0 or level * p.side > p.trail * p.side):
                p.trail = level

    def begin_day(self, begins: int) -> None:
        self.day = self.equity
        self.week = self.equity if begins & 2 else self.week
        self.month = self.equity if begins & 4 else self.month
        self.days, self.today = [self.today, *self.days[:-1]], 0
        reached = [i for i, bound in enumerate(self.limits.tier_from) if bound <= sum(self.days)]
        self.fee_tier = reached[-1]
        self.climb()

    def climb(self) -> None:
        bars, total, squares = self.track
        limits = self.limits
        share = limits.ramp_start + self.ramp_steps * limits.ramp_step
        if bars < limits.ramp_bars or share >= 1:
            return
        mean = total / bars
        variance = (squares - bars * mean * mean) / (bars - 1)
        if variance > 0 and mean * math.sqrt(bars / variance) >= limits.ramp_score:
            self.ramp_steps += 1
            self.track = [0.0, 0.0, 0.0]

    # Decisions.

    def decide(self, t: int) -> None:
        m = self.market
        current = [
            p.quantity * close / self.equity if p.quantity else 0.0
            for p, close in zip(self.positions, self.last_close, strict=True)
        ]
        asked = self.signals.desired[t].tolist()
        frozen = [
            not m.close[t, s] > 0 or math.isnan(asked[s]) or bool(self.positions[s].exiting)
            for s in self.symbols
        ]
        targets = [
            now if stays else 0.0 if wish * now < 0 else wish
            for now, wish, stays in zip(current, asked, frozen, strict=True)
        ]
        book = self.sight(t, current, targets, frozen)
        rules_twin.apply_rules(book)
        self.halted = book.halted
        self.cuts += [(t, *cut) for cut in book.cuts]
        for s in self.symbols:
            if book.targets[s] != current[s] and not self.positions[s].exiting:
                self.order(t, s, book.targets[s], current[s], book.cause[s])

    def sight(
        self, t: int, current: Sequence[float], targets: list[float], frozen: list[bool]
    ) -> rules_twin.Sight:
        m, g, held = self.market, self.signals, self.positions
        return rules_twin.Sight(
            limits=self.limits,
            close=m.close[t].tolist(),
            volume=m.volume[t].tolist(),
            contract=m.contract.tolist(),
            desired=g.desired[t].tolist(),
            edge=g.edge[t].tolist(),
            variance=g.variance[t].tolist(),
            sigma=g.sigma[t].tolist(),
            stop_fraction=g.stop_fraction[t].tolist(),
            correlation=g.correlation[t].tolist(),
            stress=g.stress[t].tolist(),
            equity=self.equity,
            peak=self.peak,
            day=self.day,
            week=self.week,
            month=self.month,
            halted=self.halted,
            ramp_steps=self.ramp_steps,
            mode=int(self.controls.mode[t]),
            age=[p.age for p in held],
            cooldown=self.cooldown,
            stop=[p.stop for p in held],
            trail=[p.trail for p in held],
            last_close=self.last_close,
            current=list(current),
            targets=targets,
            frozen=frozen,
            fee_tier=self.fee_tier,
            slippage=lambda s, size: self.slippage(t, s, size),
        )

    def order(self, t: int, s: int, target: float, current: float, cause: str) -> None:
        m, p = self.market, self.positions[s]
        close, lot = m.close[t, s].item(), int(m.lot[s])
        goal = int(min(abs(target) * self.equity / close, 4e18)) // lot * lot
        goal = goal if target > 0 else -goal
        change, distance, kind, price = goal - p.quantity, 0.0, "market", 0.0
        fraction = self.signals.stop_fraction[t, s].item()
        if abs(goal) > abs(p.quantity) and fraction > 0:
            distance = fraction * close
            kind = ENTRIES[self.limits.entry_kind]
            if kind != "market":
                price = self.entry_price(s, kind, change > 0, close, distance)
        if change == 0 or (goal and abs(change) * (price or close) < m.minimum_notional[s]):
            self.cuts.append((t, s, "venue_filters", target, current))
            return
        edge = self.signals.edge[t, s].item()
        self.waiting[s] = Order(change, kind, price, distance, edge, cause)
        self.orders.append((t, s, kind, change, close, price, distance, target, cause))

    def entry_price(self, s: int, kind: str, buying: bool, close: float, distance: float) -> float:
        offset = self.limits.entry_offset_r * distance
        if (kind == "limit") == buying:
            return self.on_tick(s, max(close - offset, 0.01 * close), False)
        return self.on_tick(s, close + offset, True)
