"""Every risk rule once more, in plain Python written to be read: what the compiled ones must equal.

One `Sight` is what the rules see of a book at one close. `apply_rules` shrinks its targets in the
fixed order and leaves what was cut, by which rule, and whether the book is halted. Nothing here is
imported from the rules.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RUN, PAUSE, LIQUIDATE = range(3)


@dataclass
class Sight:
    """One book at one close; lists run over its symbols."""

    limits: Any
    # The market at this close: NaN where a symbol has no bar.
    close: list[float]
    volume: list[float]
    contract: list[bool]
    # The signals at this close.
    desired: list[float]
    edge: list[float]
    variance: list[float]
    sigma: list[float]
    stop_fraction: list[float]
    correlation: list[float]
    stress: list[float]
    # The book.
    equity: int
    peak: int
    day: int
    week: int
    month: int
    halted: bool
    ramp_steps: int
    mode: int
    age: list[int]
    cooldown: list[int]
    stop: list[float]
    trail: list[float]
    last_close: list[float]
    current: list[float]
    # What the rules change.
    targets: list[float]
    frozen: list[bool]
    fee_tier: int
    # How far beyond half the spread a taker of (symbol, counts of 1e-8 base) is filled, a fraction.
    slippage: Callable[[int, int], float]
    ceiling: list[float] = field(default_factory=list)
    scale: float = 1.0
    cuts: list[tuple[int, str, float, float]] = field(default_factory=list)
    cause: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ceiling = self.ceiling or [math.inf] * len(self.targets)
        self.cause = self.cause or ["signal"] * len(self.targets)

    @property
    def symbols(self) -> range:
        return range(len(self.targets))

    @property
    def free(self) -> list[int]:
        """Symbols a rule may touch."""
        return [s for s in self.symbols if not self.frozen[s]]

    @property
    def present(self) -> list[int]:
        """Symbols with a bar."""
        return [s for s in self.symbols if self.close[s] > 0]

    def cut(self, s: int, rule: str, allowed: float) -> None:
        if self.targets[s] != allowed:
            self.cuts.append((s, rule, self.targets[s], allowed))
            self.targets[s], self.cause[s] = allowed, rule

    def held(self, s: int) -> float:
        """The part of a target that is held already; all of a frozen one."""
        target, current = self.targets[s], self.current[s]
        if self.frozen[s]:
            return target
        if target * current <= 0:
            return 0.0
        return math.copysign(min(abs(target), abs(current)), target)

    def growth(self, s: int) -> float:
        return self.targets[s] - self.held(s)

    def no_growth(self, s: int, rule: str) -> None:
        self.cut(s, rule, self.held(s))

    def at_most(self, s: int, rule: str, largest: float) -> None:
        self.ceiling[s] = min(self.ceiling[s], largest)
        if abs(self.targets[s]) > largest:
            self.cut(s, rule, math.copysign(largest, self.targets[s]))

    def close_out(self, s: int, rule: str) -> None:
        self.cut(s, rule, 0.0)
        self.frozen[s] = True

    def smaller_book(self, rule: str, size: float) -> None:
        self.scale *= size
        for s in self.free:
            self.ceiling[s] *= size
            self.cut(s, rule, self.targets[s] * size)

    def share_growth(self, s: int, rule: str, share: float) -> None:
        more = self.growth(s) * share
        if abs(more) < self.limits.minimum_weight_change:
            more = 0.0
        asked, allowed = self.targets[s], self.held(s) + more
        self.cut(s, rule, allowed if abs(allowed) <= abs(asked) else asked)


def long_only(book: Sight) -> None:
    for s in book.free:
        if book.targets[s] < 0 and not (book.limits.allow_shorts and book.contract[s]):
            book.cut(s, "long_only", 0.0)


def control(book: Sight) -> None:
    if book.mode == LIQUIDATE:
        for s in book.present:
            book.close_out(s, "control")
    elif book.mode == PAUSE:
        for s in book.free:
            book.no_growth(s, "control")


def drawdown_stop(book: Sight) -> None:
    if book.equity <= book.peak * (1.0 - book.limits.flatten_at_drawdown):
        book.halted = True
    if book.halted:
        for s in book.present:
            book.close_out(s, "drawdown_stop")


def holding_period(book: Sight) -> None:
    for s in book.present:
        if 0 < book.limits.max_holding_bars <= book.age[s]:
            book.close_out(s, "holding_period")


def daily_loss(book: Sight) -> None:
    _rest_after_loss(book, "daily_loss", book.day, book.limits.daily_loss_limit)


def weekly_loss(book: Sight) -> None:
    _rest_after_loss(book, "weekly_loss", book.week, book.limits.weekly_loss_limit)


def monthly_loss(book: Sight) -> None:
    _rest_after_loss(book, "monthly_loss", book.month, book.limits.monthly_loss_limit)


def _rest_after_loss(book: Sight, rule: str, anchor: int, limit: float) -> None:
    if book.equity <= anchor * (1.0 - limit):
        for s in book.free:
            book.no_growth(s, rule)


def cooldown(book: Sight) -> None:
    for s in book.free:
        if book.cooldown[s] > 0:
            book.no_growth(s, "cooldown")


def minimum_turnover(book: Sight) -> None:
    for s in book.free:
        if book.close[s] * book.volume[s] < book.limits.minimum_turnover:
            book.no_growth(s, "minimum_turnover")


def minimum_volatility(book: Sight) -> None:
    for s in book.free:
        if book.sigma[s] < book.limits.bar_minimum_volatility:
            book.no_growth(s, "minimum_volatility")


def volatility_target(book: Sight) -> None:
    for s in book.free:
        if book.sigma[s] > 0:
            largest = book.limits.bar_volatility_target / book.sigma[s]
            book.at_most(s, "volatility_target", largest)
        else:
            book.no_growth(s, "volatility_target")


def risk_per_trade(book: Sight) -> None:
    for s in book.free:
        if book.stop_fraction[s] > 0:
            book.at_most(s, "risk_per_trade", book.limits.risk_per_trade / book.stop_fraction[s])
        else:
            book.no_growth(s, "risk_per_trade")


def asset_cap(book: Sight) -> None:
    for s in book.free:
        book.at_most(s, "asset_cap", book.limits.max_asset_weight)


def drawdown_size(book: Sight) -> None:
    if book.equity <= book.peak * (1.0 - book.limits.reduce_at_drawdown):
        book.smaller_book("drawdown_size", book.limits.reduced_size)


def storm_size(book: Sight) -> None:
    known = [0.0 if math.isnan(book.stress[s]) else book.stress[s] for s in book.present]
    storm = known and sum(known) >= len(known) * book.limits.storm_stress
    if storm and book.limits.storm_size < 1:
        book.smaller_book("storm_size", book.limits.storm_size)


def capital_ramp(book: Sight) -> None:
    share = book.limits.ramp_start + book.ramp_steps * book.limits.ramp_step
    if share < 1:
        book.smaller_book("capital_ramp", share)


def round_trip_rate(book: Sight, s: int, change: float) -> float:
    """What getting into and out of a change costs: one side as an entry, one as a market order."""
    size = min(abs(change) * book.equity / book.close[s], 4e18)
    taker = book.limits.tier_taker_fee_rate[book.fee_tier]
    market = book.limits.half_spread_rate + book.slippage(s, int(size)) + taker
    rests = book.limits.entry_kind == 1
    return (book.limits.tier_maker_fee_rate[book.fee_tier] if rests else market) + market


def no_trade_band(book: Sight) -> None:
    limits = book.limits
    for s in book.free:
        target, current, edge = book.targets[s], book.current[s], book.edge[s]
        change = target - current
        if change == 0:
            continue
        worthwhile = abs(change) >= limits.minimum_weight_change or target == 0
        if worthwhile and not math.isnan(edge):
            curvature = book.variance[s] / (2.0 * limits.kelly_fraction * book.scale)
            gain = change * (edge - curvature * (target + current))
            worthwhile = gain > limits.no_trade_band * (
                round_trip_rate(book, s, change) * abs(change)
            )
        if worthwhile:
            continue
        kept = current
        if abs(current) - book.ceiling[s] >= limits.minimum_weight_change:
            kept = math.copysign(max(book.ceiling[s], abs(book.held(s))), current)
        book.cut(s, "no_trade_band", kept)


def position_cap(book: Sight) -> None:
    count = sum(weight != 0 for weight in book.targets)
    wishes = [s for s in book.free if book.targets[s] != 0]
    weakest_first = sorted(wishes, key=lambda s: (book.held(s) != 0, abs(book.desired[s]), -s))
    for s in weakest_first[: max(count - book.limits.max_positions, 0)]:
        book.cut(s, "position_cap", 0.0)


def stop_distance(book: Sight, s: int) -> float:
    """How far the close of a held position is from the nearer of its stops."""
    levels = [level for level in (book.stop[s], book.trail[s]) if level > 0]
    if not levels:
        return 1.0
    if book.current[s] > 0:
        return max(1.0 - max(levels) / book.last_close[s], 0.0)
    return max(min(levels) / book.last_close[s] - 1.0, 0.0)


def portfolio_heat(book: Sight) -> None:
    room, wanted = book.limits.max_portfolio_heat * book.scale, 0.0
    for s in book.symbols:
        if book.held(s) != 0:
            room -= abs(book.held(s)) * stop_distance(book, s)
        each = book.stop_fraction[s] if book.stop_fraction[s] > 0 else 1.0
        wanted += abs(book.growth(s)) * each
    room = max(room, 0.0)
    if wanted > room:
        for s in book.free:
            book.share_growth(s, "portfolio_heat", room / wanted)


def with_bitcoin(book: Sight, s: int) -> float:
    return 1.0 if math.isnan(book.correlation[s]) else book.correlation[s]


def correlation_limit(book: Sight) -> None:
    limit = book.limits.max_correlated_weight * book.scale
    held = sum(book.held(s) * with_bitcoin(book, s) for s in book.symbols)
    moves = [book.growth(s) * with_bitcoin(book, s) for s in book.symbols]
    shares = {}
    for side in (1, -1):
        wanted = sum(move * side for move in moves if move * side > 0)
        room = max(limit - held * side, 0.0)
        if wanted > room:
            shares[side] = room / wanted
    for s in book.free:
        side = 1 if moves[s] > 0 else -1
        if moves[s] != 0 and side in shares:
            book.share_growth(s, "correlation_limit", shares[side])


def gross_cap(book: Sight) -> None:
    fixed = sum(abs(book.targets[s]) for s in book.symbols if book.frozen[s])
    held = sum(abs(book.held(s)) for s in book.free)
    wanted = sum(abs(book.growth(s)) for s in book.free)
    room = max(book.limits.max_gross_weight * book.scale - fixed, 0.0)
    if held + wanted <= room:
        return
    if held - room > book.limits.minimum_weight_change:
        for s in book.free:
            book.cut(s, "gross_cap", book.held(s) * (room / held))
    elif wanted > 0:
        for s in book.free:
            book.share_growth(s, "gross_cap", max(room - held, 0.0) / wanted)


RULES = (
    long_only, control, drawdown_stop, holding_period, daily_loss, weekly_loss, monthly_loss,
    cooldown, minimum_turnover, minimum_volatility, volatility_target, risk_per_trade, asset_cap,
    drawdown_size, storm_size, capital_ramp, no_trade_band, position_cap, portfolio_heat,
    correlation_limit, gross_cap,
)  # fmt: skip


def apply_rules(book: Sight) -> None:
    """Apply every rule in order; a strategy that is traded as it is obeys people only."""
    for rule in RULES:
        if book.limits.rules_apply or rule is control:
            rule(book)
