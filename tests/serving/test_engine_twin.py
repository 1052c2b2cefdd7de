"""The compiled engine against its twin: equal to the last 1e-8 on thousands of random markets."""

import json
from datetime import timedelta

import numpy as np
from engine_twin import ONE, Twin
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import CostConfig, FeeTier, RiskConfig
from serving.controls import LIQUIDATE, PAUSE, RUN, Controls
from serving.engine import run
from serving.limits import Limits, limits_of
from serving.market import NEW_DAY, NEW_MONTH, NEW_WEEK, Market
from serving.risk.names import RULES, cause_of
from serving.signals import Signals
from serving.state import State, new_state, state_from_json, state_to_json
from serving.tape import CUTS, FILLS, KINDS, ORDERS, TRADES, Tape, new_tape

# Markets walked by each example of the comparison.
MARKETS = 12


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
        rng.random(n) < 0.6,
        random_calendar(rng, bars),
    )


def random_calendar(rng: np.random.Generator, bars: int) -> np.ndarray:
    """Midnights come early here, so that tiers and ramps move within a few bars."""
    midnight = rng.random(bars) < 0.2
    week, month = rng.random((2, bars)) < 0.3
    return np.where(midnight, NEW_DAY + week * NEW_WEEK + month * NEW_MONTH, 0)


def random_signals(seed: int, bars: int, n: int) -> Signals:
    rng = np.random.default_rng([seed, 1])
    shape = (bars, n)

    def holes(array: np.ndarray, share: float) -> np.ndarray:
        array[rng.random(shape) < share] = np.nan
        return array

    desired = holes(rng.normal(rng.choice([-0.2, 0.2]), 0.5, shape), 0.15)
    desired[rng.random(shape) < 0.1] = 0.0
    return Signals(
        desired,
        holes(rng.normal(0.003, 0.01, shape) * np.sign(desired + 1e-9), 0.3),
        np.full(shape, 9e-4),
        holes(np.abs(rng.normal(0.01, 0.005, shape)), 0.05),
        holes(np.abs(rng.normal(0.02, 0.01, shape)), 0.05),
        holes(rng.uniform(-0.5, 1.0, shape), 0.1),
        holes(rng.normal(0.0, 0.5, shape), 0.1),
    )


def random_controls(seed: int, bars: int) -> Controls:
    rng = np.random.default_rng([seed, 2])
    touched = rng.random() < 0.3
    mode = rng.choice([RUN, PAUSE, LIQUIDATE], bars, p=[0.8, 0.1, 0.1])
    said = (rng.random((2, bars)) < 0.1) & touched
    return Controls(np.where(touched, mode, RUN), *said)


def random_limits(seed: int, *, shorts: bool = True) -> Limits:
    rng = np.random.default_rng([seed, 3])

    def one_of(*values):
        return values[rng.integers(len(values))]

    tiers = tuple(
        FeeTier(traded_30_days=bound, maker_fee_rate=fee / 2, taker_fee_rate=fee)
        for bound, fee in ((2_000, 0.0007), (300_000, 0.0003))
    )
    costs = CostConfig(
        slippage_model=one_of("fixed", "volume", "sqrt"),
        participation_cap=one_of(0.01, 0.3, 1.0),
        taker_fee_rate=one_of(0.0, 0.001),
        maker_fee_rate=one_of(0.0, 0.0004),
        fee_tiers=one_of((), tiers),
        spread_rate=one_of(0.0, 0.0004),
        entry_order=one_of("market", "limit", "stop"),
        entry_offset_atr_multiple=one_of(0.0, 0.3, 2.0),
    )
    risk = RiskConfig(
        allow_shorts=shorts and one_of(True, True, False),
        take_profit_atr_multiple=one_of(0.0, 1.0, 5.0),
        take_profit_r_multiple=one_of(0.0, 0.5, 3.0),
        trailing_stop_atr_multiple=one_of(0.0, 1.0, 4.0),
        max_positions=one_of(1, 2, 3, 4),
        max_gross_weight=one_of(0.5, 1.0),
        max_portfolio_heat=one_of(0.01, 0.06, 1.0),
        max_correlated_weight=one_of(0.3, 0.8, 5.0),
        daily_loss_limit=one_of(0.01, 0.05, 1.0),
        reduce_at_drawdown=one_of(0.03, 0.15, 1.0),
        flatten_at_drawdown=one_of(0.05, 0.25, 1.0),
        minimum_turnover=one_of(0.0, 500.0),
        minimum_volatility=one_of(0.0, 0.5),
        ramp_start=one_of(0.5, 1.0),
        ramp_bars=one_of(2, 8),
        ramp_confidence=one_of(0.5, 0.9),
        no_trade_band=one_of(0.0, 1.0, 3.0),
        minimum_weight_change=one_of(0.0, 0.01, 0.1),
        max_holding_bars=one_of(0, 3, 9),
        stop_cooldown_bars=one_of(0, 4),
    )
    return limits_of(costs, risk, timedelta(hours=1), rules_apply=one_of(*[True] * 9, False))


def rows_of(tape: Tape) -> dict[str, list[tuple]]:
    """The records of a tape with names for numbers, in the order of their columns."""
    found = {}
    for number, table in ((ORDERS, "orders"), (FILLS, "fills"), (CUTS, "cuts"), (TRADES, "trades")):
        names = {"kind": KINDS.__getitem__, "cause": cause_of, "rule": RULES.__getitem__}
        found[table] = [
            tuple(names.get(c, lambda x: x)(row[c].item()) for c in row.dtype.names)
            for row in getattr(tape, table)[: tape.used[number]]
        ]
    return found


def engine(
    market: Market, signals: Signals, controls: Controls, limits: Limits, cash: int
) -> tuple[State, dict]:
    bars, n = market.close.shape
    state, tape = new_state(n, cash), new_tape(bars, n, recording=True)
    run(market, signals, state, limits, tape, controls)
    return state, rows_of(tape) | {"curve": [tuple(row) for row in tape.curve.tolist()]}


def said(value: object) -> str:
    """A value in its shortest exact form; NaN equals NaN, a double equals itself."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def all_said(rows: list[tuple]) -> list[list[str]]:
    return [[said(value) for value in row] for row in rows]


def check_against_twin(seed: int, bars: int, n: int, cash: int) -> None:
    market, signals = random_market(seed, bars, n), random_signals(seed, bars, n)
    controls, limits = random_controls(seed, bars), random_limits(seed)
    twin = Twin(market, signals, controls, limits, cash * ONE)
    twin.walk()
    state, found = engine(market, signals, controls, limits, cash)
    assert found["curve"] == twin.curve
    for table in ("orders", "fills", "trades"):
        assert all_said(found[table]) == all_said(getattr(twin, table)), table
    assert sorted(all_said(found["cuts"])) == sorted(all_said(twin.cuts))
    check_state(state, twin)


def check_state(state: State, twin: Twin) -> None:
    assert state.money.tolist() == [
        twin.cash, twin.equity, twin.peak, twin.fees, twin.traded, twin.funding, twin.day,
        twin.week, twin.month,
    ]  # fmt: skip
    assert state.conduct.tolist() == [twin.halted, twin.ramp_steps, twin.fee_tier]
    assert state.track.tolist() == twin.track
    assert state.volume_days.tolist() == [twin.today, *twin.days]
    for s, p in enumerate(twin.positions):
        order = twin.waiting[s]
        expected = {
            **{name: value for name, value in vars(p).items() if name in State._fields},
            "exiting": KINDS.index(p.exiting) if p.exiting else 0,
            "trade_fees": p.fees,
            "trade_funding": p.funding,
            "cooldown": twin.cooldown[s],
            "last_close": twin.last_close[s],
            "pending": order.quantity if order else 0,
            "pending_kind": KINDS.index(order.kind) if order else 0,
            "pending_price": order.price if order else 0.0,
            "pending_stop": order.stop_distance if order else 0.0,
            "pending_edge": order.edge if order else np.nan,
        }
        expected["pending_cause"] = -1
        if order and order.cause != "signal":
            expected["pending_cause"] = RULES.index(order.cause)
        assert sorted(expected) == sorted(State._fields[4:])
        mine = {name: said(getattr(state, name)[s]) for name in expected}
        assert mine == {name: said(value) for name, value in expected.items()}


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    bars=st.integers(1, 50),
    n=st.integers(1, 5),
    cash=st.sampled_from([1_000, 100_000, 30_000_000]),
)
def test_the_compiled_engine_equals_its_twin_on_random_markets(
    seed: int, bars: int, n: int, cash: int
) -> None:
    for number in range(MARKETS):
        check_against_twin(seed + number, bars, n, cash)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 39))
def test_a_walk_in_two_pieces_is_the_walk_in_one_even_through_json(seed: int, cut: int) -> None:
    market, signals = random_market(seed, 40, 3), random_signals(seed, 40, 3)
    controls, limits = random_controls(seed, 40), random_limits(seed)
    whole, _ = engine(market, signals, controls, limits, 100_000)
    symbols = ("A/B:B", "C/B:B", "D/B:B")
    stored = state_to_json(new_state(3, 100_000), symbols)
    for part in (slice(None, cut), slice(cut, None)):
        some = Market(
            *(a[part].copy() for a in market[:6]), *market[6:10], market.calendar[part].copy()
        )
        wishes = Signals(*(a[part].copy() for a in signals))
        state = state_from_json(json.loads(json.dumps(stored)), symbols)
        length = some.close.shape[0]
        run(some, wishes, state, limits, new_tape(length, 3, recording=False),
            Controls(*(a[part].copy() for a in controls)))  # fmt: skip
        stored = state_to_json(state, symbols)
    for mine, theirs in zip(state, whole, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1))
def test_money_is_conserved_and_every_round_trip_adds_up(seed: int) -> None:
    market, signals = random_market(seed, 40, 4), random_signals(seed, 40, 4)
    limits, controls = random_limits(seed), random_controls(seed, 40)
    state, found = engine(market, signals, controls, limits, 100_000)
    cash, held, realised = 100_000 * ONE, [0] * 4, 0
    for _, s, kind, quantity, *_, notional, fee, gain, _ in found["fills"]:
        sign = (quantity > 0) - (quantity < 0)
        cash -= notional if kind == "funding" else sign * notional + fee
        held[s] += quantity
        realised += gain
    assert cash == state.money[0]
    assert held == state.quantity.tolist()
    worth = sum(round(q * c) for q, c in zip(held, state.last_close.tolist(), strict=True) if q)
    assert state.money[1] == cash + worth
    # What was gained is what was realised and what positions are worth over their cost.
    assert state.money[1] - 100_000 * ONE == realised + worth - sum(state.cost.tolist())
    if not any(held):
        assert sum(trade[8] for trade in found["trades"]) == realised


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1))
def test_without_shorts_nothing_is_ever_owed(seed: int) -> None:
    market, signals = random_market(seed, 40, 4), random_signals(seed, 40, 4)
    market = market._replace(funding_rate=np.zeros_like(market.funding_rate))
    limits = random_limits(seed, shorts=False)._replace(rules_apply=True)
    state, found = engine(market, signals, random_controls(seed, 40), limits, 100_000)
    assert min(cash for _, cash, _ in found["curve"]) >= 0
    assert min(state.quantity.tolist()) >= 0


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1))
def test_nothing_grows_beyond_the_free_cash(seed: int) -> None:
    market, signals = random_market(seed, 40, 4), random_signals(seed, 40, 4)
    limits, controls = random_limits(seed), random_controls(seed, 40)
    held, close, cash = [0] * 4, [np.nan] * 4, 100_000 * ONE
    fills = iter(engine(market, signals, controls, limits, 100_000)[1]["fills"])
    fill = next(fills, None)
    for bar in range(40):
        while fill and fill[0] == bar:
            _, s, kind, quantity, *_, notional, fee, _, _ = fill
            if kind != "funding" and quantity * held[s] >= 0:
                shorts = sum(round(-q * c) for q, c in zip(held, close, strict=True) if q < 0)
                assert notional + fee <= cash - 2 * shorts
            sign = (quantity > 0) - (quantity < 0)
            cash -= notional if kind == "funding" else sign * notional + fee
            held[s] += quantity
            fill = next(fills, None)
        close = [new if new > 0 else old for new, old in zip(market.close[bar], close, strict=True)]


def test_random_markets_meet_every_kind_of_order_and_exit() -> None:
    kinds, causes, shorts = set(), set(), 0
    for seed in range(400):
        market, signals = random_market(seed, 50, 5), random_signals(seed, 50, 5)
        _, found = engine(market, signals, random_controls(seed, 50), random_limits(seed), 100_000)
        kinds |= {fill[2] for fill in found["fills"]}
        causes |= {cut[2] for cut in found["cuts"]}
        shorts += sum(trade[2] < 0 for trade in found["trades"])
    assert kinds == set(KINDS)
    assert causes == set(RULES)
    assert shorts > 100
