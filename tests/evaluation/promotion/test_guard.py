"""Guardrails of a reign, on curves worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.promotion.config import GuardConfig
from evaluation.promotion.guard import breaches

CONFIG = GuardConfig(drawdown=0.15, loss=0.10)


def broken(*equity: float, loss_bars: int = 2) -> list[str]:
    return [one.guard for one in breaches(np.array(equity), loss_bars, CONFIG)]


def test_a_fall_from_the_peak_of_the_reign_and_a_loss_within_the_span_are_breaches() -> None:
    assert broken(100.0, 120.0, 115.0, 108.0, 101.9) == ["drawdown", "loss"]
    assert broken(100.0, 120.0, 116.0, 112.0, 108.0, 102.1) == []
    assert broken(100.0, 99.0, 89.9) == ["loss"]
    assert broken(100.0, 97.0, 94.0, 91.0, 89.0, 84.9) == ["drawdown"]


def test_a_bound_that_is_just_kept_is_kept() -> None:
    assert broken(128.0, 112.0, 112.0, 112.0) == []
    assert broken(128.0, 112.0, 112.0, 108.0) == ["drawdown"]


@pytest.mark.parametrize("equity", [(), (100.0,)])
def test_a_reign_without_a_bar_breaks_nothing(equity: tuple[float, ...]) -> None:
    assert broken(*equity) == []


@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=50), st.integers(1, 60))
def test_breaches_are_what_a_plain_walk_finds(equity: list[float], loss_bars: int) -> None:
    peak = max(equity)
    before = equity[max(len(equity) - 1 - loss_bars, 0)]
    wanted = [
        name
        for name, observed, bound in (
            ("drawdown", 1 - equity[-1] / peak, 0.15),
            ("loss", 1 - equity[-1] / before, 0.10),
        )
        if observed > bound
    ]
    assert broken(*equity, loss_bars=loss_bars) == wanted
