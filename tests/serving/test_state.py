import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.state import (
    DAY,
    MONTH,
    SCALE,
    SIGNAL,
    WEEK,
    new_state,
    state_from_json,
    state_to_json,
    to_counts,
    to_decimal,
)

SYMBOLS = ("ADA/USDT", "BTC/USDT")
counts = st.integers(-(10**18), 10**18)


@given(counts)
def test_counts_and_decimals_are_the_same_number(count: int) -> None:
    assert to_counts(to_decimal(count)) == count
    assert to_decimal(count).as_tuple().exponent == -8


def test_amounts_round_half_to_even_at_eight_places() -> None:
    assert to_counts(0.1) == 10_000_000
    assert to_counts(Decimal("0.000000005")) == 0
    assert to_counts(Decimal("0.000000015")) == 2


@given(st.integers(0, 2**32 - 1))
def test_a_state_survives_json_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = new_state(2, 500)
    for field in state:
        filled = rng.random(field.shape) < 0.7
        if field.dtype == np.float64:
            field[filled] = np.exp(rng.normal(0, 8, field.shape))[filled]
        else:
            field[filled] = rng.integers(-(10**18), 10**18, field.shape)[filled]
    state.entered[:] = rng.integers(1, 10**18, 2)
    text = json.dumps(state_to_json(state, SYMBOLS), allow_nan=False)
    back = state_from_json(json.loads(text), SYMBOLS)
    for mine, theirs in zip(back, state, strict=True):
        assert np.array_equal(mine, theirs, equal_nan=True)


def test_a_flat_symbol_takes_five_fields_and_a_quiet_book_no_days() -> None:
    stored = state_to_json(new_state(1, 500), ("BTC/USDT",))
    assert stored == {
        "money": {
            "cash": "500.00000000", "equity": "500.00000000", "peak": "500.00000000",
            "fees": "0E-8", "traded": "0E-8", "funding": "0E-8",
            "day": "500.00000000", "week": "500.00000000", "month": "500.00000000",
        },
        "conduct": {"halted": 0, "ramp_steps": 0, "fee_tier": 0},
        "track": [0.0, 0.0, 0.0],
        "volume_days": [],
        "positions": {
            "BTC/USDT": {
                "quantity": "0E-8", "cost": "0E-8", "pending": "0E-8", "stop": 0.0,
                "last_close": None,
            }
        },
    }  # fmt: skip


def test_a_state_of_before_shorts_and_exits_loads_as_a_book_without_them() -> None:
    position = {
        "quantity": "2.00000000", "cost": "150.00000000", "stop": 70.0, "age": 3, "cooldown": 0,
        "last_close": 80.0, "pending": "0E-8", "pending_stop": 0.0,
    }  # fmt: skip
    money = {
        "cash": "40",
        "equity": "200",
        "peak": "210",
        "fees": "1",
        "traded": "9",
        "funding": "0",
    }
    state = state_from_json({"money": money, "positions": {"BTC/USDT": position}}, SYMBOLS)
    assert state.quantity.tolist() == [0, 2 * SCALE]
    assert state.stop.tolist() == [0.0, 70.0]
    # It was entered at once, at its cost.
    assert (state.entered[1], state.invested[1]) == (2 * SCALE, 150 * SCALE)
    assert (state.highest[1], state.lowest[1]) == (75.0, 75.0)
    assert state.money[[DAY, WEEK, MONTH]].tolist() == [200 * SCALE] * 3
    assert state.pending_cause.tolist() == [SIGNAL, SIGNAL]
    assert state.conduct.tolist() == [0, 0, 0]


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
