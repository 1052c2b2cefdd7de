import math

import polars as pl
import pytest

from evaluation.transaction_costs import cost_totals, costs_by


def fills() -> pl.DataFrame:
    names = (
        "symbol", "kind", "side", "quantity", "reference_price", "notional", "fee", "spread_bps",
        "impact_bps", "slippage_bps", "fee_bps",
    )  # fmt: skip
    rows = [
        ("BTC/USDT", "market", "buy", 1.0, 10_000.0, 10_003.0, 10.0, 2.0, 1.0, 5.0, 10.0),
        ("BTC/USDT", "market", "sell", 1.0, 10_000.0, 9_994.0, 10.0, 2.0, 4.0, 9.0, 10.0),
        ("ETH/USDT", "limit", "buy", 5.0, 1_000.0, 5_000.0, 1.0, 0.0, 0.0, -20.0, 2.0),
        ("ETH/USDT", "stop_loss", "sell", 5.0, 900.0, 4_499.0, 4.0, 2.0, 0.2, math.nan, 10.0),
        ("BTC/USDT", "funding", "funding", 0.0, 10_000.0, -1.5, 0.0, 0.0, 0.0, math.nan, math.nan),
    ]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_every_part_of_the_costs_in_quote_capital_and_basis_points() -> None:
    totals = cost_totals(fills(), 100_000.0)
    assert totals["part"].to_list() == ["fees", "spread", "impact", "funding", "all costs"]
    # spread: 2 bps of 10,000 twice and of 4,500; impact: 1 and 4 bps of 10,000, 0.2 bps of 4,500
    assert totals["amount"].to_list() == pytest.approx([25.0, 4.9, 5.09, -1.5, 33.49])
    assert totals["of_capital"][4] == pytest.approx(33.49 / 100_000)
    assert totals["bps"][0] == pytest.approx(25.0 / 29_496 * 1e4)


def test_without_fills_nothing_was_paid() -> None:
    totals = cost_totals(fills().clear(), 100_000.0)
    assert totals["amount"].to_list() == [0.0] * 5
    assert totals["bps"].to_list() == [None] * 5


def test_shortfall_by_kind_is_a_mean_and_a_median_of_fills_that_have_one() -> None:
    frame = costs_by(fills(), "kind")
    assert frame["kind"].to_list() == ["market", "limit", "stop_loss"]
    assert frame["fills"].to_list() == [2, 1, 1]
    assert frame["shortfall_mean"].to_list() == [7.0, -20.0, None]
    assert frame["impact_median"].to_list() == [2.5, 0.0, 0.2]


def test_costs_by_symbol_leave_funding_out() -> None:
    frame = costs_by(fills(), "symbol")
    assert frame.select("symbol", "fills", "notional").rows() == [
        ("BTC/USDT", 2, 19_997.0),
        ("ETH/USDT", 2, 9_499.0),
    ]
    assert frame["fee_mean"].to_list() == [10.0, 6.0]
