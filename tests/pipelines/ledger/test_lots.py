"""Tax lots: first in, first out, to the last 1e-8."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipelines.ledger.lots import LotFill, realise

START = datetime(2024, 1, 1, tzinfo=UTC)
D = Decimal


def fill(name: str, day: int, quantity: str, notional: str, fee: str) -> LotFill:
    return LotFill(name, START + timedelta(days=day), D(quantity), D(notional), D(fee))


def test_the_oldest_lot_goes_first_and_fees_are_part_of_both_sides() -> None:
    gains, lots = realise(
        [
            fill("a", 0, "2", "200", "0.2"),
            fill("b", 10, "1", "150", "0.15"),
            fill("c", 20, "-2.5", "500", "0.5"),
        ]
    )
    first, second = gains
    assert (first.lot_id, first.disposal_id, first.side) == ("a", "c", "long")
    assert (first.quantity, first.proceeds, first.cost) == (D(2), D("399.6"), D("200.2"))
    assert (first.gain, first.holding_days) == (D("199.4"), 20)
    assert (second.lot_id, second.quantity, second.holding_days) == ("b", D("0.5"), 10)
    assert (second.proceeds, second.cost) == (D("99.9"), D("75.075"))
    (left,) = lots
    assert (left.fill_id, left.quantity, left.amount) == ("b", D("0.5"), D("75.075"))


def test_a_short_is_opened_by_its_sale_and_closed_by_the_purchase() -> None:
    gains, lots = realise(
        [fill("sold", 0, "-1", "100", "0.1"), fill("bought", 3, "1", "80", "0.08")]
    )
    (gain,) = gains
    assert lots == []
    assert (gain.side, gain.acquired_at, gain.disposed_at) == (
        "short", START, START + timedelta(days=3),
    )  # fmt: skip
    assert (gain.proceeds, gain.cost, gain.gain) == (D("99.9"), D("80.08"), D("19.82"))


def test_a_fill_through_zero_closes_one_side_and_opens_the_other() -> None:
    gains, lots = realise([fill("a", 0, "1", "100", "0"), fill("b", 1, "-3", "330", "0.3")])
    (gain,) = gains
    assert (gain.quantity, gain.proceeds, gain.gain) == (D(1), D("109.9"), D("9.9"))
    (short,) = lots
    assert (short.fill_id, short.quantity, short.amount) == ("b", D(-2), D("219.8"))


def test_thirds_of_a_lot_lose_nothing_to_rounding() -> None:
    third = "0.33333333"
    gains, lots = realise(
        [
            fill("a", 0, "1", "100", "0.1"),
            *(fill(name, 1, f"-{third}", "40", "0") for name in "bcd"),
            fill("e", 2, "-0.00000001", "0.0000012", "0"),
        ]
    )
    assert lots == []
    assert sum(g.cost for g in gains) == D("100.1")
    assert [g.cost for g in gains] == [
        D("33.36666633"), D("33.36666633"), D("33.36666634"), D("0.00000100"),
    ]  # fmt: skip


counts = st.integers(1, 10**13)
steps = st.lists(st.tuples(st.booleans(), counts, counts, st.integers(0, 10**10)), max_size=30)


@given(steps)
def test_lots_keep_every_unit_and_every_count_of_money(
    steps: list[tuple[bool, int, int, int]],
) -> None:
    def amount(count: int) -> Decimal:
        return D(count).scaleb(-8)

    fills = [
        LotFill(str(i), START + timedelta(hours=i), amount(q if bought else -q), amount(n), amount(f))
        for i, (bought, q, n, f) in enumerate(steps)
    ]  # fmt: skip
    gains, lots = realise(fills)
    held = sum((f.quantity for f in fills), D(0))
    assert sum((lot.quantity for lot in lots), D(0)) == held
    assert len({lot.quantity > 0 for lot in lots}) <= 1
    cash = sum((-f.notional if f.quantity > 0 else f.notional) - f.fee for f in fills)
    tied_up = sum(lot.amount if lot.quantity > 0 else -lot.amount for lot in lots)
    assert sum(g.gain for g in gains) - tied_up == cash
    assert all(g.acquired_at <= g.disposed_at and g.quantity > 0 for g in gains)
    assert [g.disposed_at for g in gains] == sorted(g.disposed_at for g in gains)


@given(steps)
def test_a_position_that_is_closed_gained_what_average_cost_says(
    steps: list[tuple[bool, int, int, int]],
) -> None:
    """The slow twin: average cost in counts, as the engine keeps it; at the end all is sold."""
    held = cost = realised = 0
    fills = []
    for i, (bought, quantity, notional, fee) in enumerate([*steps, (False, 0, 10**9, 10**6)]):
        last = i == len(steps)
        q = held if last else quantity
        if not bought and not last:
            q = min(q, held)
        if q == 0:
            continue
        if bought and not last:
            held, cost = held + q, cost + notional + fee
        else:
            share = cost * q // held
            held, cost, realised = held - q, cost - share, realised + notional - fee - share
        signed = q if bought and not last else -q
        fills.append(
            LotFill(str(i), START, *(D(x).scaleb(-8) for x in (signed, notional, fee)))
        )  # fmt: skip
    gains, lots = realise(fills)
    assert (held, cost, lots) == (0, 0, [])
    assert sum((g.gain for g in gains), D(0)) == D(realised).scaleb(-8)
