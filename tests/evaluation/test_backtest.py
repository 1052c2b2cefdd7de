from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.backtest import backtest, evaluate, prepare
from features.matrix import build_matrix
from serving.books import FEATURES_READ
from serving.config import CostConfig, RiskConfig
from serving.market import Filters

HOUR = timedelta(hours=1)
HOURS = 1200
START = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("ADA/USDT", "BTC/USDT", "ETH/USDT")
TERMS = {
    "costs": CostConfig(), "risk": RiskConfig(), "initial_cash": 100_000.0, "timeframe": HOUR
}  # fmt: skip


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    rng = np.random.default_rng(11)
    frames = []
    for symbol, price in zip(SYMBOLS, (0.5, 40_000.0, 2_500.0), strict=True):
        close = price * np.exp(np.cumsum(rng.standard_t(4, HOURS) * 0.005))
        open_ = np.concatenate([[price], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "venue": "binance",
                    "symbol": symbol,
                    "known_at": [START + (i + 1) * HOUR for i in range(HOURS)],
                    "open_time": [START + i * HOUR for i in range(HOURS)],
                    "open": open_,
                    "high": np.maximum(open_, close) * 1.003,
                    "low": np.minimum(open_, close) * 0.997,
                    "close": close,
                    "volume": 1e8 / price,
                }
            ).with_columns(
                pl.col("known_at", "open_time").cast(pl.Datetime("us", "UTC")),
                quote_volume=pl.lit(None, pl.Float64),
                trades=pl.lit(None, pl.Int64),
                taker_buy_volume=pl.lit(None, pl.Float64),
            )
        )
    everything = pl.concat(frames)
    gap = (pl.col("symbol") == "ETH/USDT") & pl.col("known_at").is_between(
        START + 200 * HOUR, START + 210 * HOUR
    )
    return everything.filter(~gap)


@pytest.fixture(scope="module")
def features(bars: pl.DataFrame) -> pl.DataFrame:
    return build_matrix(bars, timeframe=HOUR, names=list(FEATURES_READ))


@pytest.fixture(scope="module")
def scores(bars: pl.DataFrame) -> pl.DataFrame:
    """A persistent opinion, scored everywhere but in the first hundred hours."""
    rng = np.random.default_rng(5)
    opinion = pl.Series(rng.normal(0, 0.05, bars.height)).ewm_mean(alpha=0.05)
    said = bars.select("venue", "symbol", "known_at").with_columns(
        model_version=pl.lit("7"), expected_return=opinion, horizon_bars=pl.lit(24, pl.Int64)
    )
    return said.filter(pl.col("known_at") > START + 100 * HOUR)


def test_a_model_is_traded_and_every_stage_is_counted(bars, features, scores) -> None:
    result = backtest(bars, features, scores, **TERMS)
    counts = dict(result.waterfall.iter_rows())
    assert counts["bars"] == bars.height
    sized = features.drop_nulls("realised_vol_72")
    known = scores.join(sized, on=["symbol", "known_at"], how="semi")
    assert counts["scored"] == known.height > 0
    assert counts["scored"] >= counts["asked for a change"] >= counts["after asset_cap"]
    assert counts["after no_trade_band"] >= counts["ordered"] >= counts["filled"] > 0
    assert result.fills.height == result.metrics["fills"] > 10
    assert result.equity.height == HOURS
    assert result.risk_events.columns == [
        "known_at", "symbol", "rule", "asked", "allowed", "reason"
    ]  # fmt: skip


def test_equity_is_cash_and_positions_at_the_close(bars, features, scores) -> None:
    result = backtest(bars, features, scores, **TERMS)
    curve = result.equity
    assert (curve["equity"] - curve["cash"] - curve["exposure"]).abs().max() < 1e-6
    fills = result.fills
    sign = pl.when(pl.col("side") == "buy").then(1).otherwise(-1)
    spent = fills.select((sign * pl.col("notional") + pl.col("fee")).sum()).item()
    assert curve["cash"][-1] == pytest.approx(100_000 - spent, abs=1e-6)
    assert result.metrics["fees"] == pytest.approx(fills["fee"].sum())


def test_a_fill_follows_its_order_by_one_bar_and_uses_that_bars_open(
    bars, features, scores
) -> None:
    result = backtest(bars, features, scores, **TERMS)
    market = result.fills.filter(pl.col("kind") == "market")
    ordered = result.orders.filter(pl.col("kind") == "market").select(
        pl.col("known_at") + HOUR, "symbol", asked="quantity"
    )
    joined = market.join(ordered, on=["known_at", "symbol"]).join(
        bars.select("known_at", "symbol", "open"), on=["known_at", "symbol"]
    )
    assert joined.height == market.height
    assert (joined["quantity"] <= joined["asked"]).all()
    assert (joined["reference_price"] == joined["open"]).all()


def test_the_future_does_not_reach_the_past(bars, features, scores) -> None:
    cut = START + 300 * HOUR
    before = pl.col("known_at") <= cut
    whole = backtest(bars, features, scores, **TERMS)
    early = backtest(bars.filter(before), features.filter(before), scores.filter(before), **TERMS)
    assert early.equity.equals(whole.equity.filter(before))
    assert early.fills.equals(whole.fills.filter(before))


def test_buy_and_hold_buys_once_and_no_rule_touches_it(bars, features) -> None:
    result = backtest(bars, features, None, strategy="buy_and_hold", **TERMS)
    assert result.fills.select("symbol", "side").rows() == [(s, "buy") for s in SYMBOLS]
    assert result.risk_events.is_empty()
    assert result.metrics["fees"] > 0


def test_ema_crossover_trades_under_the_same_rules(bars, features) -> None:
    result = backtest(bars, features, None, strategy="ema_crossover", **TERMS)
    assert result.fills.height > 0
    cut = set(result.risk_events["rule"])
    assert {"no_trade_band", "capital_ramp"} <= cut
    assert not cut & {"control", "venue_filters", "minimum_turnover"}


def test_no_scores_no_trades_and_the_waterfall_says_why(bars, features, scores) -> None:
    result = backtest(bars, features, scores.clear(), **TERMS)
    counts = dict(result.waterfall.iter_rows())
    assert (counts["bars"], counts["scored"], counts["ordered"]) == (bars.height, 0, 0)
    assert result.equity["equity"].to_list() == [100_000.0] * HOURS
    assert np.isnan(result.metrics["sharpe"])


def test_venue_filters_shape_every_fill(bars, features, scores) -> None:
    filters = {s: Filters(lot=0.01, tick=0.05, minimum_notional=10.0) for s in SYMBOLS}
    fills = backtest(bars, features, scores, filters=filters, **TERMS).fills
    assert np.allclose(fills["quantity"] * 100, np.round(fills["quantity"] * 100), atol=1e-6)
    assert np.allclose(fills["price"] * 20, np.round(fills["price"] * 20), atol=1e-6)


def test_an_evaluation_without_frames_is_the_same_result(bars, features, scores) -> None:
    inputs = prepare(bars, features, timeframe=HOUR)
    expected = np.full(inputs.panel.market.close.shape, np.nan)
    rows, at, symbol = inputs.panel.locate(scores)
    expected[at, symbol] = scores["expected_return"].to_numpy()[rows]
    terms = {k: v for k, v in TERMS.items() if k != "timeframe"}
    fast = evaluate(inputs, expected, 24, **terms)
    slow = backtest(bars, features, scores, **TERMS)
    assert fast.equity[1:].tolist() == slow.equity["equity"].to_list()
    assert fast.net_return == pytest.approx(slow.metrics["total_return"], abs=1e-12)
    assert fast.fees == pytest.approx(slow.metrics["fees"])


def test_what_cannot_be_traded_is_refused(bars, features, scores) -> None:
    with pytest.raises(ValueError, match="'momentum' is not one of"):
        backtest(bars, features, None, strategy="momentum", **TERMS)
    with pytest.raises(ValueError, match="none were given"):
        backtest(bars, features, None, **TERMS)
    with pytest.raises(ValueError, match="columns atr_14 are missing"):
        backtest(bars, features.drop("atr_14"), scores, **TERMS)
    two = pl.concat([scores, scores.with_columns(model_version=pl.lit("8"))])
    with pytest.raises(ValueError, match=r"2 model versions \(7, 8\)"):
        backtest(bars, features, two, **TERMS)


def test_an_allocation_learns_from_the_bars_before_the_span_or_waits(
    bars, features, scores
) -> None:
    risk = RiskConfig(allocation="equal_risk", allocation_lookback_bars=120)
    terms = {**TERMS, "risk": risk, "first": START + 800 * HOUR}
    recent = bars.filter(pl.col("known_at") >= START + 800 * HOUR)
    wanted = [
        np.flatnonzero(
            (backtest(told, features, scores, **terms).walk.signals.desired > 0).any(axis=1)
        )
        for told in (bars, recent)
    ]
    # Midnights after 08:00 are rows 16, 40, ...; without a past the first with 114 returns is row 136.
    assert wanted[0][:2].tolist() == [16, 40]
    assert wanted[1][0] == 136
    assert np.isin(wanted[0][wanted[0] >= 136], wanted[1]).all()


def test_a_search_lets_an_allocation_wait_for_its_window(bars, features) -> None:
    risk = RiskConfig(allocation="mean_variance", allocation_lookback_bars=240)
    inputs = prepare(bars, features, timeframe=HOUR)
    outcome = evaluate(
        inputs,
        np.full(inputs.sigma.shape, 0.02),
        24,
        risk=risk,
        costs=CostConfig(),
        initial_cash=100_000.0,
    )
    moved = np.flatnonzero(np.diff(outcome.equity))
    # 228 of 240 returns are there from row 228 on; row 239 is the next midnight, and fills a bar later.
    assert moved[0] == 240


def test_round_trips_add_up_to_what_the_fills_realised(bars, features, scores) -> None:
    result = backtest(bars, features, scores, **TERMS)
    trades = result.trades
    assert trades.columns == [
        "entered_at", "exited_at", "symbol", "side", "bars_held", "quantity", "entry_price",
        "exit_price", "invested", "realised", "return", "fees", "funding", "mae", "mfe",
        "r_multiple", "edge", "exit_kind", "exit_cause",
    ]  # fmt: skip
    assert trades.height == result.metrics["trades"] > 5
    assert (trades["exited_at"] - trades["entered_at"] == trades["bars_held"] * HOUR).all()
    assert set(trades["side"]) == {"long"}
    for row in trades.iter_rows(named=True):
        own = (pl.col("symbol") == row["symbol"]) & pl.col("known_at").is_between(
            row["entered_at"], row["exited_at"]
        )
        fills = result.fills.filter(own)
        bought, sold = (fills.filter(pl.col("side") == side) for side in ("buy", "sell"))
        assert row["quantity"] == pytest.approx(bought["quantity"].sum())
        assert row["invested"] == pytest.approx(bought["notional"].sum())
        assert row["fees"] == pytest.approx(fills["fee"].sum())
        assert row["realised"] == pytest.approx(
            sold["notional"].sum() - bought["notional"].sum() - fills["fee"].sum(), abs=1e-6
        )
        assert row["exit_kind"] == fills["kind"][-1]
        assert row["mae"] <= 0 <= row["mfe"]
    hit = trades.filter(pl.col("exit_kind") == "stop_loss")
    assert hit.height > 0
    # Most lose the initial risk and the costs; what was sold before the stop lost less.
    assert (hit["r_multiple"] < 0).all()
    assert -1.2 < hit["r_multiple"].median() < -1.0


def test_every_fill_says_what_it_cost_and_why_it_was_made(bars, features, scores) -> None:
    fills = backtest(bars, features, scores, **TERMS).fills
    sign = pl.when(pl.col("side") == "buy").then(1.0).otherwise(-1.0)
    beyond = sign * (pl.col("price") / pl.col("reference_price") - 1) * 1e4
    since = sign * (pl.col("price") / pl.col("arrival_price") - 1) * 1e4
    off = fills.select(
        (beyond - pl.col("spread_bps") - pl.col("impact_bps")).abs().max().alias("costs"),
        (since - pl.col("slippage_bps")).abs().max().alias("slippage"),
        (pl.col("fee") / pl.col("notional") * 1e4 - pl.col("fee_bps")).abs().max().alias("fee"),
    )
    assert off.row(0) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert fills["spread_bps"].unique().to_list() == [2.0]
    assert (fills["impact_bps"] > 0).all()
    assert fills["fee_bps"].to_numpy() == pytest.approx(10.0, abs=1e-3)
    ordered = fills.filter(pl.col("kind") == "market")
    closes = bars.select(pl.col("known_at") + HOUR, "symbol", decided="close")
    joined = ordered.join(closes, on=["known_at", "symbol"])
    assert joined.height == ordered.height
    assert (joined["arrival_price"] == joined["decided"]).all()
    assert {"signal", "no_trade_band"} & set(fills["cause"])
