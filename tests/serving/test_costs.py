import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.config import CostConfig, FeeTier, RiskConfig
from serving.costs import (
    affordable,
    fill_price,
    maker_fee_rate,
    notional_of,
    round_to_tick,
    slippage,
    taker_fee_rate,
)
from serving.limits import Limits, bars_per_year, limits_of
from serving.market import Market
from serving.state import FEE_TIER, SCALE, new_state


def limits_with(**costs) -> Limits:
    return limits_of(CostConfig(**costs), RiskConfig(), timedelta(hours=1))


def rate_of(model: str, *, size: float, volume: float) -> float:
    limits = limits_with(slippage_model=model, slippage_rate=0.0003, impact_coefficient=0.7)
    cell = lambda x: np.array([[x]])  # noqa: E731
    market = Market(
        cell(100.0), cell(101.0), cell(99.0), cell(100.0), cell(volume), cell(0.0),
        np.ones(1, np.int64), np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.bool_),
        np.zeros(1, np.int64),
    )  # fmt: skip
    return slippage(0, 0, round(size * SCALE), market, limits)


def test_fixed_slippage_is_its_rate_whatever_the_size() -> None:
    assert rate_of("fixed", size=50, volume=100) == 0.0003
    assert rate_of("fixed", size=1, volume=0.0) == 0.0003


def test_impact_is_linear_or_a_square_root_of_the_share_of_volume() -> None:
    sigma = 0.02 / (2 * math.sqrt(math.log(2)))
    assert rate_of("volume", size=1, volume=100) == pytest.approx(0.7 * sigma * 0.01)
    assert rate_of("sqrt", size=1, volume=100) == pytest.approx(0.7 * sigma * 0.1)


def test_without_volume_there_is_no_impact_to_measure() -> None:
    assert rate_of("sqrt", size=1, volume=0.0) == 0.0


def test_a_taker_pays_half_the_spread() -> None:
    assert limits_with(spread_rate=0.0004).half_spread_rate == 0.0002


def test_fees_are_those_of_the_books_tier() -> None:
    tier = FeeTier(traded_30_days=1e6, maker_fee_rate=0.0004, taker_fee_rate=0.0006)
    limits = limits_with(maker_fee_rate=0.0008, taker_fee_rate=0.001, fee_tiers=(tier,))
    assert limits.tier_from.tolist() == [0, 10**6 * SCALE]
    state = new_state(1, 1000)
    assert (maker_fee_rate(state, limits), taker_fee_rate(state, limits)) == (0.0008, 0.001)
    state.conduct[FEE_TIER] = 1
    assert (maker_fee_rate(state, limits), taker_fee_rate(state, limits)) == (0.0004, 0.0006)


def test_fee_tiers_that_do_not_rise_are_refused() -> None:
    tiers = [{"traded_30_days": x, "maker_fee_rate": 0, "taker_fee_rate": 0} for x in (5, 5)]
    with pytest.raises(ValueError, match=r"fee_tiers start at \[5.0, 5.0\]"):
        CostConfig(fee_tiers=tiers)


@pytest.mark.parametrize(
    ("by_atr", "by_r", "target_r"), [(0, 0, 0), (3, 0, 1.5), (0, 2, 2), (3, 2, 1.5), (6, 2, 2)]
)
def test_the_nearer_take_profit_holds(by_atr: float, by_r: float, target_r: float) -> None:
    risk = RiskConfig(take_profit_atr_multiple=by_atr, take_profit_r_multiple=by_r)
    assert limits_of(CostConfig(), risk, timedelta(hours=1)).target_r == target_r


def test_distances_in_atr_become_multiples_of_the_stop_distance() -> None:
    costs = CostConfig(entry_offset_atr_multiple=0.5)
    risk = RiskConfig(stop_atr_multiple=2.0, trailing_stop_atr_multiple=3.0)
    limits = limits_of(costs, risk, timedelta(hours=1))
    assert (limits.entry_offset_r, limits.trail_r) == (0.25, 1.5)


def test_a_ratio_becomes_its_logarithm_and_a_confidence_a_quantile() -> None:
    risk = RiskConfig(storm_volatility_ratio=2.0, ramp_confidence=0.975)
    limits = limits_of(CostConfig(), risk, timedelta(hours=1))
    assert limits.storm_stress == math.log(2)
    assert limits.ramp_score == pytest.approx(1.959964, abs=1e-6)


def test_fills_move_against_the_trader_and_on_to_the_tick_beyond() -> None:
    assert fill_price(100.0, 0.001, 0.0, True) == pytest.approx(100.1)
    assert fill_price(100.0, 0.001, 0.25, True) == 100.25
    assert fill_price(100.0, 0.001, 0.25, False) == 99.75
    assert fill_price(100.0, 5.0, 0.0, False) == 1.0


def test_a_price_on_the_tick_stays_there_and_prints_clean() -> None:
    assert round_to_tick(0.3, 0.1, True) == 0.3
    assert round_to_tick(0.3, 0.1, False) == 0.3
    assert round_to_tick(0.05, 0.1, False) == 0.1


@given(
    st.integers(1, 10**15), st.floats(1e-4, 1e5), st.integers(0, 10**15),
    st.sampled_from([0.0, 0.001, 0.01]), st.sampled_from([1, 10**5, 10**8]),
)  # fmt: skip
def test_what_is_affordable_can_be_paid_and_one_lot_more_cannot(
    size: int, price: float, cash: int, fee: float, lot: int
) -> None:
    bill = lambda n: notional_of(n, price) + notional_of(notional_of(n, price), fee)  # noqa: E731
    wanted = size // lot * lot
    found = affordable(wanted, price, cash, fee, lot)
    assert 0 <= found <= wanted
    assert found % lot == 0
    if found:
        assert bill(found) <= cash
    if found < wanted:
        # To the precision of a double.
        assert bill(found + lot) > cash * (1 - 1e-12) - 1


def test_a_year_has_8760_hours() -> None:
    assert bars_per_year(timedelta(hours=1)) == 8760
    limits = limits_of(CostConfig(), RiskConfig(volatility_target=0.3), timedelta(hours=1))
    assert limits.bar_volatility_target == pytest.approx(0.3 / math.sqrt(8760))
