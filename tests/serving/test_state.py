import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.state import (
    State,
    new_state,
    state_from_json,
    state_to_json,
    to_counts,
    to_decimal,
)

SYMBOLS = ("ADA/USDT", "BTC/USDT")
counts = st.integers(-(10**18), 10**18)
prices = st.floats(1e-9, 1e9)


@given(counts)
def test_counts_and_decimals_are_the_same_number(count: int) -> None:
    assert to_counts(to_decimal(count)) == count
    assert to_decimal(count).as_tuple().exponent == -8


def test_amounts_round_half_to_even_at_eight_places() -> None:
    assert to_counts(0.1) == 10_000_000
    assert to_counts(Decimal("0.000000005")) == 0
    assert to_counts(Decimal("0.000000015")) == 2


@given(st.lists(counts, min_size=14, max_size=14), st.lists(prices, min_size=6, max_size=6))
def test_a_state_survives_json_to_the_last_bit(numbers: list[int], floats: list[float]) -> None:
    two = lambda i: np.array(numbers[i : i + 2], np.int64)  # noqa: E731
    state = State(
        money=np.array(numbers[:6], np.int64),
        quantity=two(6),
        cost=two(8),
        stop=np.array(floats[:2]),
        age=np.array([3, 0]),
        cooldown=np.array([0, 7]),
        last_close=np.array([np.nan, floats[2]]),
        pending=two(12),
        pending_stop=np.array(floats[4:6]),
    )
    text = json.dumps(state_to_json(state, SYMBOLS))
    back = state_from_json(json.loads(text), SYMBOLS)
    for mine, theirs in zip(back, state, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


def test_a_symbol_the_stored_state_does_not_know_is_flat_and_unseen() -> None:
    stored = state_to_json(new_state(1, 500), ("BTC/USDT",))
    state = state_from_json(stored, SYMBOLS)
    assert state.quantity.tolist() == [0, 0]
    assert np.isnan(state.last_close).all()
    assert state.money[0] == 500 * 10**8


@pytest.mark.parametrize("cash", [0, -5, 4e10])
def test_a_capital_that_is_no_capital_or_does_not_fit_is_refused(cash: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        new_state(1, cash)
