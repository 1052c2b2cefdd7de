"""Profit and loss to the last 1e-8: worked out by hand, and on random books."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.attribution import AMOUNT, GROUPS, PARTS, attribute, round_trips

START = datetime(2024, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = pl.Datetime("us", "UTC")
PLACE = {"book": pl.String(), "symbol": pl.String()}
FILLS = PLACE | {"known_at": INSTANT, "signal_at": INSTANT, "quantity": AMOUNT, "notional": AMOUNT, "fee": AMOUNT}  # fmt: skip
FUNDING = PLACE | {"known_at": INSTANT, "paid": AMOUNT}
HOLDINGS = PLACE | {"quantity": AMOUNT, "value": AMOUNT}
EQUITY = {"book": pl.String(), "initial": AMOUNT, "equity": AMOUNT}
CENT = Decimal("0.00000001")


def table(schema, *rows):
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def d(text):
    return Decimal(text)


def fill(hour, quantity, notional, fee="1", *, book="a", symbol="BTC/USDT"):
    at = START + hour * HOUR
    return (book, symbol, at, at - HOUR, d(quantity), d(notional), d(fee))


def hand(equity="1016"):
    """A long that gained, a short that is open, funding on both."""
    return (
        table(
            FILLS,
            fill(1, "2", "200"),
            fill(2, "-0.5", "60"),
            fill(4, "-1.5", "165"),
            fill(6, "-1", "100"),
        ),
        table(
            FUNDING,
            ("a", "BTC/USDT", START + 2 * HOUR, d("3")),
            ("a", "BTC/USDT", START + 6 * HOUR, d("-2")),
        ),
        table(HOLDINGS, ("a", "BTC/USDT", d("-1"), d("-104"))),
        table(EQUITY, ("a", d("1000"), d(equity))),
    )


def test_a_closed_long_and_an_open_short_are_the_equity_they_changed() -> None:
    # The long earned 25 less 3 of fees and 3 of funding; the short lost 4 and a fee and received 2.
    found = round_trips(*hand()).to_dicts()
    assert [(one["side"], one["gross"], one["fees"], one["funding"], one["pnl"]) for one in found] == [
        ("long", d("25"), d("3"), d("3"), d("19")),
        ("short", d("-4"), d("1"), d("-2"), d("-3")),
    ]  # fmt: skip
    assert [one["signal_at"] for one in found] == [START, START + 5 * HOUR]
    assert [one["exited_at"] for one in found] == [START + 4 * HOUR, None]
    groups = attribute(round_trips(*hand()), ["side"]).to_dicts()
    assert groups[0] | {} == {
        "side": "long", "round_trips": 1, "open_positions": 0, "gross": d("25"), "fees": d("3"),
        "funding": d("3"), "closed_pnl": d("19"), "open_pnl": d("0"), "pnl": d("19"),
    }  # fmt: skip
    assert (groups[1]["open_pnl"], groups[1]["closed_pnl"]) == (d("-3"), d("0"))


def test_a_cent_that_nothing_explains_is_refused() -> None:
    fills, funding, holdings, _ = hand()
    with pytest.raises(
        ValueError, match=r"changed by 16\.00000001 and its round trips come to 16\.0"
    ):
        round_trips(fills, funding, holdings, hand(equity="1016.00000001")[3])
    with pytest.raises(ValueError, match="fills, funding or marks are missing"):
        round_trips(fills, funding.head(1), holdings, hand()[3])


def test_what_the_fills_cannot_have_been_is_refused() -> None:
    fills, funding, holdings, equity = hand()
    with pytest.raises(ValueError, match=r"come to a position of -1\.0+, the book says None"):
        round_trips(fills, funding, holdings.clear(), equity)
    with pytest.raises(ValueError, match="split it at zero"):
        round_trips(table(FILLS, fill(1, "1", "9"), fill(2, "-2", "9")), *hand()[1:])
    idle = table(FUNDING, ("a", "BTC/USDT", START + 4 * HOUR, d("1")))
    with pytest.raises(ValueError, match="was paid while nothing was held"):
        round_trips(fills, idle, holdings, equity)


def test_a_book_that_never_traded_has_nothing_to_attribute_and_an_unknown_group_is_refused() -> (
    None
):
    equity = table(EQUITY, ("a", d("1000"), d("1000")))
    trips = round_trips(table(FILLS), table(FUNDING), table(HOLDINGS), equity)
    assert trips.is_empty()
    assert attribute(trips, ["book", "side"]).is_empty()
    with pytest.raises(ValueError, match="cannot be attributed to hour; known are book"):
        attribute(trips, ["hour"])


def walk(seed, hours):
    """Books that trade at random, and the money they had, counted as it moved."""
    rng = np.random.default_rng(seed)
    fills, funding, cash, held, price = [], [], {}, {}, {}
    for book in ("a", "b"):
        cash[book] = d("100000")
        for hour in range(1, hours + 1):
            for symbol in ("BTC/USDT", "ETH/USDT"):
                place, at = (book, symbol), START + hour * HOUR
                price[place] = d(f"{rng.lognormal(4, 0.3):.6f}")
                has = held.get(place, d("0"))
                if rng.random() < 0.5:
                    move = _order(rng, has)
                    notional = (abs(move) * price[place]).quantize(CENT)
                    fee = (notional * d("0.001")).quantize(CENT)
                    fills.append((*place, at, at - HOUR, move, notional, fee))
                    cash[book] -= (notional if move > 0 else -notional) + fee
                    has = held[place] = has + move
                if has and rng.random() < 0.3:
                    paid = d(f"{rng.normal(0, 1):.8f}")
                    funding.append((*place, at, paid))
                    cash[book] -= paid
    holdings = [(*p, q, (q * price[p]).quantize(CENT)) for p, q in held.items() if q]
    equity = [
        (book, d("100000"), money + sum(v for b, _, _, v in holdings if b == book))
        for book, money in cash.items()
    ]
    return (
        table(FILLS, *fills),
        table(FUNDING, *funding),
        table(HOLDINGS, *holdings),
        table(EQUITY, *equity),
    )


def _order(rng, held):
    size = d(f"{rng.uniform(0.00000001, 3):.8f}")
    if not held:
        return size if rng.random() < 0.5 else -size
    kind = rng.random()
    if kind < 0.4:
        return -held
    if kind < 0.7:
        return size if held > 0 else -size
    return -(min(size, abs(held)) if held > 0 else -min(size, abs(held)))


@given(seed=st.integers(0, 10_000), hours=st.integers(1, 40), by=st.sets(st.sampled_from(GROUPS)))
@settings(max_examples=40)
def test_the_parts_sum_to_the_change_of_every_book_whatever_it_did(seed, hours, by) -> None:
    given_ = walk(seed, hours)
    trips = round_trips(*given_)
    regimes = np.random.default_rng(seed).integers(0, 3, trips.height)
    names = [(None, "bull", "storm")[i] for i in regimes]
    trips = trips.with_columns(regime=pl.Series(names, dtype=pl.String))
    change = {book: equity - initial for book, initial, equity in given_[3].rows()}
    parts = attribute(trips, ["book", *sorted(by - {"book"})])
    for book, expected in change.items():
        mine = parts.filter(pl.col("book") == book)
        assert sum(mine["pnl"], d("0")) == expected
    whole = attribute(trips, [])
    if trips.is_empty():
        assert whole.is_empty()
        return
    for name in PARTS:
        assert sum(parts[name], d("0")) == whole[name].item()
    assert whole["pnl"].item() == whole["closed_pnl"].item() + whole["open_pnl"].item()
    assert whole["pnl"].item() == sum(change.values(), d("0"))


@given(seed=st.integers(0, 10_000), hours=st.integers(2, 30))
@settings(max_examples=15)
def test_a_payment_that_is_left_out_never_goes_unnoticed(seed, hours) -> None:
    fills, funding, holdings, equity = walk(seed, hours)
    for broken in (fills.head(-1), fills.slice(1)):
        if fills.height:
            with pytest.raises(ValueError):
                round_trips(broken, funding, holdings, equity)
    kept = funding.slice(1)
    if funding.height and funding["paid"][0] != 0:
        with pytest.raises(ValueError, match="come to"):
            round_trips(fills, kept, holdings, equity)
