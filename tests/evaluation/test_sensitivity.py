import math

import polars as pl
import pytest

from evaluation.backtest import Setup, backtest, backtest_all, evaluate_all
from evaluation.sensitivity import (
    PARAMETERS,
    cost_sensitivity,
    same_trades,
    scaled_costs,
    sensitivity,
    sensitivity_grid,
)
from serving.config import CostConfig, FeeTier, RiskConfig

COLUMNS = ["parameter", "value", "total_return", "sharpe", "max_drawdown", "fills"]


@pytest.fixture(scope="module")
def walked(hand_made):
    return hand_made.inputs()


def test_one_parameter_is_turned_at_a_time_and_the_centre_is_the_setup_itself(
    hand_made, walked
) -> None:
    frame = sensitivity(
        *walked,
        hand_made.setup,
        parameters=("kelly_fraction", "max_positions"),
        factors=(0.5, 1, 4),
    )
    assert frame.columns == COLUMNS
    assert frame.select("parameter", "value").rows() == [
        ("kelly_fraction", 0.125), ("kelly_fraction", 0.25), ("kelly_fraction", 1.0),
        ("max_positions", 2.0), ("max_positions", 5.0), ("max_positions", 20.0),
    ]  # fmt: skip
    whole = backtest(hand_made.bars, hand_made.features, hand_made.scores, **hand_made.terms)
    for centre in (1, 4):
        row = frame.row(centre, named=True)
        assert row["total_return"] == pytest.approx(whole.metrics["total_return"], abs=1e-12)
        assert row["fills"] == whole.metrics["fills"] > 0
    assert frame["total_return"][0] != frame["total_return"][1]


def test_a_value_the_configuration_refuses_and_a_parameter_switched_off_are_passed_over(
    hand_made, walked
) -> None:
    frame = sensitivity(
        *walked, hand_made.setup, parameters=("kelly_fraction", "max_holding_bars"), factors=(1, 8)
    )
    assert frame.select("parameter", "value").rows() == [("kelly_fraction", 0.25)]


def test_every_default_parameter_is_a_number_of_the_risk_configuration() -> None:
    for name in PARAMETERS:
        assert isinstance(getattr(RiskConfig(), name), int | float)
        assert getattr(RiskConfig(), name) > 0


def test_a_grid_turns_two_parameters_together(hand_made, walked) -> None:
    frame = sensitivity_grid(*walked, hand_made.setup, factors=(0.5, 2.0))
    assert frame.columns == ["kelly_fraction", "no_trade_band", *COLUMNS[2:]]
    assert frame.select("kelly_fraction", "no_trade_band").rows() == [
        (0.125, 0.5), (0.125, 2.0), (0.5, 0.5), (0.5, 2.0)
    ]  # fmt: skip
    assert frame["fills"][0] > frame["fills"][1]


def test_the_threads_do_not_change_what_is_found(hand_made, walked) -> None:
    kelly = [0.05 * n for n in range(1, 9)]
    setups = [hand_made.setup._replace(risk=RiskConfig(kelly_fraction=k)) for k in kelly]
    told: list[tuple[int, int]] = []
    one = evaluate_all(*walked, setups, threads=1)
    two = evaluate_all(*walked, setups, threads=3, progress=lambda *at: told.append(at))
    found = [[(o.net_return, o.sharpe, o.fees, o.fills) for o in some] for some in (one, two)]
    assert found[0] == found[1]
    assert found[0][0][3] is None
    assert len({net for net, *_ in found[0]}) > 1
    assert told == [(n, 8) for n in range(1, 9)]


def test_all_costs_are_scaled_together() -> None:
    tiers = (FeeTier(traded_30_days=1e6, maker_fee_rate=0.0002, taker_fee_rate=0.0004),)
    costs = scaled_costs(CostConfig(fee_tiers=tiers), 3.0)
    assert (costs.maker_fee_rate, costs.taker_fee_rate) == pytest.approx((0.003, 0.003))
    assert costs.spread_rate == pytest.approx(3 * CostConfig().spread_rate)
    assert costs.slippage_rate == pytest.approx(3 * CostConfig().slippage_rate)
    assert costs.impact_coefficient == pytest.approx(2.1)
    assert costs.fee_tiers[0].taker_fee_rate == pytest.approx(0.0012)
    assert costs.participation_cap == CostConfig().participation_cap
    free = scaled_costs(CostConfig(), 0.0)
    assert (free.taker_fee_rate, free.spread_rate, free.impact_coefficient) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="taker_fee_rate"):
        scaled_costs(CostConfig(), 200.0)


def test_costs_are_told_to_the_strategy_and_free_trading_is_best(hand_made, walked) -> None:
    # A band of zero trades whatever it costs: what is left of the difference are the costs.
    always = hand_made.setup._replace(
        risk=RiskConfig(no_trade_band=0.0, ramp_start=1.0, daily_loss_limit=1, weekly_loss_limit=1)
    )
    frame = cost_sensitivity(*walked, always, multiples=(0.0, 1.0, 3.0))
    assert frame.columns == ["multiple", *COLUMNS[2:]]
    assert frame["multiple"].to_list() == [0.0, 1.0, 3.0]
    net = frame["total_return"].to_list()
    assert net[0] > net[1] > net[2]
    careful = cost_sensitivity(*walked, hand_made.setup, multiples=(0.0, 3.0))
    assert careful["fills"][0] > careful["fills"][1]


def fills(*rows: tuple[str, float, float, float, float]) -> pl.DataFrame:
    columns = ["side", "quantity", "reference_price", "price", "fee"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_a_fixed_list_of_trades_earns_less_the_more_it_costs() -> None:
    # Bought 2 at 100 for 101, sold at 130 for 129, 3 of fees: costs 2 + 2 + 3, gross 60.
    made = fills(("buy", 2.0, 100.0, 101.0, 1.0), ("sell", 2.0, 130.0, 129.0, 2.0))
    frame, break_even = same_trades(made, 53 / 1000, 1000.0, multiples=(0, 1, 2, 10))
    assert frame["multiple"].to_list() == [0.0, 1.0, 2.0, 10.0]
    assert frame["total_return"].to_list() == pytest.approx([0.060, 0.053, 0.046, -0.010])
    assert break_even == pytest.approx(60 / 7)


def test_funding_is_no_trading_cost_and_what_loses_for_free_never_breaks_even() -> None:
    made = fills(("buy", 1.0, 100.0, 101.0, 1.0), ("funding", 0.0, 100.0, 100.0, 0.0))
    frame, break_even = same_trades(made, -0.05, 100.0, multiples=(0, 1))
    assert frame["total_return"].to_list() == pytest.approx([-0.03, -0.05])
    assert math.isnan(break_even)
    frame, break_even = same_trades(made.clear(), 0.0, 100.0, multiples=(0, 3))
    assert frame["total_return"].to_list() == [0.0, 0.0]
    assert math.isnan(break_even)


def test_real_fills_fall_along_a_line_through_the_result(hand_made) -> None:
    whole = backtest(hand_made.bars, hand_made.features, hand_made.scores, **hand_made.terms)
    total = whole.metrics["total_return"]
    frame, break_even = same_trades(whole.fills, total, 100_000.0, multiples=(0, 1, 2, 3))
    net = frame["total_return"].to_list()
    assert net[1] == pytest.approx(total)
    assert net == sorted(net, reverse=True)
    assert net[0] - net[1] == pytest.approx(net[2] - net[3])
    assert net[0] - net[1] > whole.metrics["fees"] / 100_000
    assert break_even > 1 if total > 0 else not break_even > 1


def test_a_capital_beyond_the_engines_counts_is_refused_before_anything_is_walked(
    hand_made, walked
) -> None:
    rich = [hand_made.setup, Setup(CostConfig(), RiskConfig(), 1e12)]
    with pytest.raises(ValueError, match=r"capital 1e\+12 at ADA/USDT's price"):
        evaluate_all(*walked, rich)
    with pytest.raises(ValueError, match=r"capital 1e\+12"):
        backtest_all(*walked, rich)
