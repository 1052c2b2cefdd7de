import math

import polars as pl
import pytest

from evaluation.backtest import backtest
from evaluation.capacity import capacity, filled_share, impact_bps


def test_more_capital_pays_more_impact_and_gets_less_of_what_it_orders(hand_made) -> None:
    inputs, scores = hand_made.inputs()
    frame = capacity(inputs, scores, hand_made.setup, multiples=(1, 10, 100, 1000))
    assert frame.columns == ["capital", "annual_return", "sharpe", "impact_bps", "filled_share"]
    assert frame["capital"].to_list() == [1e5, 1e6, 1e7, 1e8]
    impact, filled = frame["impact_bps"].to_list(), frame["filled_share"].to_list()
    assert impact[0] < impact[1] < impact[2]
    assert filled[0] == pytest.approx(1.0, abs=1e-3)
    assert filled == sorted(filled, reverse=True)
    assert filled[3] < 0.5
    whole = backtest(hand_made.bars, hand_made.features, hand_made.scores, **hand_made.terms)
    assert frame["annual_return"][0] == pytest.approx(whole.metrics["annual_return"])
    assert frame["impact_bps"][0] == pytest.approx(impact_bps(whole.fills))


def test_a_capital_beyond_the_engines_counts_is_left_out(hand_made) -> None:
    inputs, scores = hand_made.inputs()
    frame = capacity(inputs, scores, hand_made.setup, multiples=(1, 1e6))
    assert frame["capital"].to_list() == [1e5]


def test_impact_is_weighted_by_what_was_traded_and_funding_is_no_trade() -> None:
    fills = pl.DataFrame(
        {
            "side": ["buy", "sell", "funding"],
            "notional": [100.0, 300.0, 999.0],
            "impact_bps": [4.0, 8.0, 0.0],
        }
    )
    assert impact_bps(fills) == pytest.approx(7.0)
    assert math.isnan(impact_bps(fills.clear()))


def test_without_an_order_nothing_can_be_filled(hand_made) -> None:
    silent = hand_made.scores.clear()
    result = backtest(hand_made.bars, hand_made.features, silent, **hand_made.terms)
    assert math.isnan(filled_share(result))
