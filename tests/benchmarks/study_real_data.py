"""What models and one plain rule are worth on ten real pairs; docs/real_data.md holds what came out.

Run from the repository, with the real market data beside it (../shared/market)::

    study_real_data.py walk HOME MODEL...   fit the twelve windows of 2022-2024, keep their scores
    study_real_data.py judge HOME MODEL...  forecasts and the engine's net result of those scores
    study_real_data.py rule                 the momentum burst, era by era, beside its gate alone
    study_real_data.py holdout HOME MODEL...  2025-01 to 2025-06, rule and models: look once

Returns come from the engine, at the default costs of a book. Prints; asserts nothing.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.backtest import BacktestResult, Setup, backtest_all, prepare
from evaluation.breakdown import by_regime, trend_regimes
from evaluation.intervals import accuracy_interval, bootstrap_interval, sharpe_interval
from evaluation.metrics import bar_returns
from evaluation.overfitting import deflate_record
from features.as_of_join import Readings, per_eight_hours, with_readings
from features.matrix import build_matrix
from features.registry import registered
from serving.books import FEATURES_READ, Inputs, Scores
from serving.config import CostConfig, RiskConfig
from training.config import TrainingConfig
from training.holdout import plan_holdout
from training.panel import Panel, build_panel
from training.walk_forward import fit_span, plan_windows, score_rows, study_end

Floats = npt.NDArray[np.float64]

HOUR, YEAR = timedelta(hours=1), 8_760.0
MARKET = Path(__file__).resolve().parents[3] / "shared" / "market"
TEN = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ETH", "LINK", "LTC", "SOL", "XRP")
FIRST, AS_OF = datetime(2020, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
CASH = 100_000.0
OPTIONAL = ("trades", "taker_buy_base")
OUTSIDE = ("funding", "sentiment", "macro")
"""Families that read tables beside the bars; open interest and premiums have no public history."""

PLAIN: dict[str, Any] = {
    "threads": 1,
    "importance": {"columns": 0},
    "split": {"windows": 12, "test_days": 91, "holdout_days": 181, "train_days": 365},
}
_PAIR: dict[str, Any] = {"members": ["xgboost", "logistic"]}
_THREE_FITS: dict[str, Any] = {"split": {**PLAIN["split"], "inner_folds": 2}}
MODELS: dict[str, dict[str, Any]] = {
    "xgboost": {},
    "lightgbm": {},
    "catboost": {},
    "random_forest": {},
    "logistic": {},
    "tcn": _THREE_FITS,
    "stacking": {**_PAIR, "model_params": {"folds": 2}},
    "blending": {**_PAIR, "model_params": {"folds": 2}},
    "voting": _PAIR,
    "multi_horizon": {
        **_THREE_FITS,
        "members": ["lightgbm", "logistic"],
        "label": {"extra_horizons": [8, 72]},
    },
}

# The rule, as it was fixed before its earlier eras and the hold-out were looked at.
BURST, HOLD, WEIGHT = 2.25, 48, 0.1
RULE_READS = ("log_return_24", "realised_vol_168", "sma_distance_720")
RULE_RISK = RiskConfig(
    ramp_start=1.0, stop_atr_multiple=8.0, max_portfolio_heat=0.2, no_trade_band=0.0
)
MODEL_RISK = RiskConfig(ramp_start=1.0)
TRIALS = 166
"""All looks at 2022-2024, by whomever; docs/real_data.md counts them."""
TRIAL_VARIANCE, WORTHLESS_VARIANCE = 0.90, 1.0 / 3.0
"""Of annual Sharpe ratios: among the looks that went through the engine, and of three years of luck."""
ERAS = {
    "2018-08 to 2019-09": (datetime(2018, 8, 1, tzinfo=UTC), datetime(2019, 10, 1, tzinfo=UTC)),
    "2019-10 to 2020-11": (datetime(2019, 10, 1, tzinfo=UTC), datetime(2020, 12, 1, tzinfo=UTC)),
    "2020-12 to 2021-12": (datetime(2020, 12, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)),
    "2022-01 to 2024-12": (datetime(2022, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
}
HOLDOUT = (datetime(2025, 1, 1, tzinfo=UTC), AS_OF)


def load_bars(bases: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the bars of USDT pairs known in `(start, end]`, in the contract of `bars`."""
    frames = []
    for base in bases:
        path = MARKET / "ohlcv_1h" / "binance_spot" / f"{base}USDT.parquet"
        opened = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
        prices = [pl.col(name).cast(pl.Float64) for name in ("open", "high", "low", "close")]
        table = pl.read_parquet(path)
        lacking = [pl.lit(None).alias(name) for name in OPTIONAL if name not in table.columns]
        frames.append(
            table.with_columns(lacking)
            .select(
                pl.lit("binance").alias("venue"),
                pl.lit(f"{base}/USDT").alias("symbol"),
                (opened + HOUR).alias("known_at"),
                opened,
                *prices,
                pl.col("volume", "quote_volume").cast(pl.Float64),
                pl.col("trades").cast(pl.Int64),
                pl.col("taker_buy_base").cast(pl.Float64).alias("taker_buy_volume"),
                (opened + HOUR).alias("ingested_at"),
            )
            .filter((pl.col("known_at") > start) & (pl.col("known_at") <= end))
        )
    return pl.concat(frames).sort("venue", "symbol", "known_at")


def outside_readings() -> list[Readings]:
    """Return funding, Fear & Greed, VIX and dollar index with the lags of the default settings."""
    instant = pl.Datetime("us", "UTC")
    funding = [
        pl.read_parquet(MARKET / "funding" / "binance_perp" / f"{base}USDT.parquet").select(
            symbol=pl.lit(f"{base}/USDT"),
            known_at=pl.col("funding_time").cast(instant),
            funding_rate="funding_rate",
        )
        for base in TEN
    ]
    greed = pl.read_parquet(MARKET / "fear_greed" / "alternative_me_daily.parquet").select(
        known_at=pl.col("date").cast(instant) + HOUR, value=pl.col("value").cast(pl.Float64)
    )

    def closes(name: str) -> pl.DataFrame:
        date = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        path = MARKET / "macro" / f"{name}_daily.parquet"
        return pl.read_parquet(path).select(known_at=date + 30 * HOUR, value="close")

    return [
        Readings("funding_rate", per_eight_hours(pl.concat(funding)), 24 * HOUR),
        Readings("fear_greed", greed, 72 * HOUR),
        Readings("vix", closes("vix"), 120 * HOUR),
        Readings("dxy", closes("dxy"), 120 * HOUR),
    ]


@cache
def history(end: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return bars and all features that have values, of the ten pairs up to `end`."""
    bars = load_bars(TEN, FIRST, end)
    inside = [one.name for one in registered() if one.family not in OUTSIDE]
    beside = [one.name for one in registered() if one.family in OUTSIDE]
    known = with_readings(bars, outside_readings())
    table = build_matrix(known, timeframe=HOUR, names=[*inside, *beside])
    return bars, table[[name.name for name in table if name.null_count() < table.height]]


def config_of(model: str) -> TrainingConfig:
    """Return the study's settings of a model; what they do not say is the default."""
    return TrainingConfig.model_validate({**PLAIN, "model": model, **MODELS[model]})


def panel_of(config: TrainingConfig, end: datetime) -> Panel:
    """Return features and labels of all that is known by `end`, and of nothing later."""
    bars, table = history(end)
    return build_panel(bars, table, config.label, timeframe=HOUR, end=end)


def walk(home: Path, models: Sequence[str]) -> None:
    """Fit the windows of every model and keep the scores of their test rows."""
    for model in models:
        config = config_of(model)
        panel = panel_of(config, study_end(AS_OF, config))
        scored = [
            scored_window(panel, config, (w.train_start, w.test_start, w.test_end), f"{model} {w}")
            for w in plan_windows(AS_OF, FIRST + HOUR, config, timeframe=HOUR)
        ]
        pl.concat(scored).write_parquet(home / f"{model}.parquet")


def scored_window(
    panel: Panel, config: TrainingConfig, span: tuple[datetime, datetime, datetime], name: str
) -> pl.DataFrame:
    """Return scores of one window's labelled rows with outcome, realised, scale and base rates."""
    start, middle, end = span
    fitted = fit_span(panel, {}, config, start=start, end=middle, feature_set="study", name=name)
    rows = panel.rows_between(middle, end)
    rows = rows[panel.labelled[rows]]
    shares = zip(("base_down", "base_flat", "base_up"), fitted.class_shares, strict=True)
    return score_rows(fitted.scorer, panel, rows).with_columns(
        pl.Series("outcome", panel.outcome[rows]),
        pl.Series("realised", panel.realised[rows]),
        pl.Series("scale", panel.scale[rows]),
        *(pl.lit(share).alias(name) for name, share in shares),
    )


def forecast(scored: pl.DataFrame) -> dict[str, float]:
    """Return log-loss skill over the base rates [nats a row], in its two parts, and directions.

    `moving` is the part of telling class flat from the others, `direction` that of telling up from
    down where something moved; they add up to `skill`. `sure_hits` is the share of right directions
    in the tenth of rows with the largest ``|p_up - p_down|``.
    """
    proba = scored.select("p_down", "p_flat", "p_up").to_numpy()
    base = scored.select("base_down", "base_flat", "base_up").to_numpy()
    y = scored.get_column("outcome").to_numpy()
    z = (scored.get_column("realised") / scored.get_column("scale")).to_numpy()
    row, moved = np.arange(y.size), y != 1
    gain = np.log(proba[row, y]) - np.log(base[row, y])
    p_moves, base_moves = (np.where(moved, 1 - p[:, 1], p[:, 1]) for p in (proba, base))
    moving = np.log(p_moves) - np.log(base_moves)
    lean = proba[:, 2] - proba[:, 0]
    hit, sure = np.sign(lean) == np.sign(z), np.abs(lean) >= np.quantile(np.abs(lean), 0.9)
    at = scored.get_column("known_at").dt.timestamp("us").to_numpy()
    bounds = accuracy_interval(at[sure], hit[sure], shortest_block=24.0)
    return {
        "skill": float(gain.mean()),
        "moving": float(moving.mean()),
        "direction": float((gain - moving).mean()),
        "correlation": float(np.corrcoef(lean, z)[0, 1]),
        "hits": float(hit.mean()),
        "sure_hits": bounds.value,
        "sure_lower": bounds.lower,
        "sure_upper": bounds.upper,
    }


def judge(home: Path, models: Sequence[str], start: datetime, end: datetime) -> None:
    """Print what every model's kept scores foretold and earned."""
    bars = load_bars(TEN, start - 60 * 24 * HOUR, end)
    inputs = span_inputs(bars, build_matrix(bars, timeframe=HOUR, names=FEATURES_READ), start)
    for model in models:
        scored = pl.read_parquet(home / f"{model}.parquet")
        expected = placed(inputs, scored, "expected_return")
        result = traded(inputs, Scores(expected, 24), MODEL_RISK)
        show(model, forecast(scored) | figures(result, scored))
    for baseline in ("buy_and_hold", "ema_crossover"):
        show(baseline, figures(traded(inputs, None, MODEL_RISK, baseline), None))


def span_inputs(bars: pl.DataFrame, table: pl.DataFrame, start: datetime) -> Inputs:
    """Return the engine's arrays of the bars after `start`."""
    later = pl.col("known_at") > start
    return prepare(bars.filter(later), table.filter(later), timeframe=HOUR)


def placed(inputs: Inputs, frame: pl.DataFrame, column: str) -> Floats:
    """Return a column of a keyed frame on the engine's grid, shape (bars, symbols); NaN elsewhere."""
    values = np.full((inputs.panel.bars, len(inputs.panel.symbols)), np.nan)
    row, bar, symbol = inputs.panel.locate(frame)
    values[bar, symbol] = frame.get_column(column).to_numpy()[row]
    return values


def traded(
    inputs: Inputs, scores: Scores | None, risk: RiskConfig, strategy: str = "model"
) -> BacktestResult:
    """Return the engine's result at default costs."""
    setup = Setup(CostConfig(), risk, CASH)
    return next(backtest_all(inputs, scores, [setup], strategy=strategy, threads=1))


def burst_signal(bars: pl.DataFrame, table: pl.DataFrame, least: float) -> pl.DataFrame:
    """Return venue, symbol, known_at and `held`: whether the rule wants the symbol at that close.

    It does for `HOLD` bars from one whose return over 24 bars was above `least` standard deviations
    (of hourly returns over 168 bars) while Bitcoin stood above its mean of 720 bars.
    """
    bitcoin = table.filter(pl.col("symbol") == "BTC/USDT").select(
        "known_at", rising=pl.col("sma_distance_720") > 0
    )
    size = pl.col("log_return_24") / (pl.col("realised_vol_168") * np.sqrt(24.0))
    fired = (pl.col("rising") & (size > least)).fill_null(False)
    lately = pl.col("fired").rolling_max_by("known_at", f"{HOLD}h").over("symbol")
    return (
        table.join(bitcoin, on="known_at", how="left", maintain_order="left")
        .with_columns(fired=fired.cast(pl.Float64))
        .with_columns(held=lately)
        .select("venue", "symbol", "known_at", "held")
    )


def rule_result(
    bases: Sequence[str], start: datetime, end: datetime, least: float
) -> tuple[BacktestResult, Inputs, pl.DataFrame]:
    """Return the engine's result of the rule, its inputs and the 48-bar returns from each next open."""
    bars = load_bars(sorted({*bases, "BTC"}), start - 60 * 24 * HOUR, end)
    table = build_matrix(bars, timeframe=HOUR, names=[*FEATURES_READ, *RULE_READS])
    chosen = pl.col("symbol").is_in([f"{base}/USDT" for base in bases])
    inputs = span_inputs(bars.filter(chosen), table.filter(chosen), start)
    held = placed(inputs, burst_signal(bars, table, least), "held") > 0
    # The expectation for which fractional Kelly asks for the rule's weight; below zero it sells.
    share = np.where(held, WEIGHT, -0.01) / RULE_RISK.kelly_fraction
    scores = Scores(share * inputs.sigma**2 * HOLD, HOLD)
    ahead = (pl.col("close").shift(-HOLD) / pl.col("open").shift(-1)).log().over("symbol")
    return traded(inputs, scores, RULE_RISK), inputs, bars.with_columns(realised=ahead)


def rule() -> None:
    """Print the rule era by era, beside the same book that holds all while its gate is open."""
    records: list[Floats] = []
    for era, (start, end) in ERAS.items():
        bases = listed(start)
        for name, least in (("burst", BURST), ("gate alone", -np.inf)):
            result, inputs, outcome = rule_result(bases, start, end, least)
            show(f"{era} {name}", figures(result, outcome))
            if name == "burst":
                show_regimes(result, inputs)
                records.append(returns_of(result))
    pooled = sharpe_interval(np.concatenate(records[:-1]), YEAR, shortest_block=48.0)
    show("burst, the three eras before 2022 as one record", {"sharpe": bounds_of(pooled)})
    for variance in (TRIAL_VARIANCE, WORTHLESS_VARIANCE):
        deflated = deflate_record(records[-1], YEAR, trials=TRIALS, trial_variance=variance)
        show("burst 2022-01 to 2024-12, deflated", deflated.as_json())
    by_pair()


def by_pair() -> None:
    """Print the rule on each pair by itself, and on two pairs that are not traded any more."""
    for base in TEN:
        start, end = ERAS["2022-01 to 2024-12"]
        result, _, outcome = rule_result([base], start, end, BURST)
        show(f"burst {base}", figures(result, outcome))
    start, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    result, _, outcome = rule_result(["MATIC", "XMR"], start, end, BURST)
    show("burst MATIC, XMR (delisted since)", figures(result, outcome))


def listed(start: datetime) -> list[str]:
    """Return the pairs with bars 60 days before `start`."""
    before = start - 60 * 24 * HOUR
    return [base for base in TEN if load_bars([base], before, before + 24 * HOUR).height]


def show_regimes(result: BacktestResult, inputs: Inputs) -> None:
    """Print what was earned after thirty days up and after thirty days down of holding all pairs."""
    held = traded(inputs, None, RULE_RISK, "buy_and_hold").equity.get_column("equity").to_numpy()
    benchmark = np.concatenate([[CASH], held])
    print(by_regime(returns_of(result), trend_regimes(benchmark, 720), YEAR).rows(named=True))


def returns_of(result: BacktestResult) -> Floats:
    """Return the simple return of each bar."""
    equity = result.equity.get_column("equity").to_numpy()
    returns: Floats = np.nan_to_num(bar_returns(np.concatenate([[CASH], equity])))
    return returns


def figures(result: BacktestResult, outcome: pl.DataFrame | None) -> dict[str, Any]:
    """Return the figures of a record with their 90 % intervals, and each year's return.

    Parameters
    ----------
    result : BacktestResult
    outcome : polars.DataFrame, optional
        symbol, known_at, realised: what followed each close; gives `hits`, the share of entries whose
        direction was right.
    """
    returns, trades = returns_of(result), result.trades
    found: dict[str, Any] = {
        name: result.metrics[name]
        for name in ("total_return", "max_drawdown", "trades", "exposure", "turnover", "fees")
    }
    if np.ptp(returns) > 0:
        found["sharpe"] = bounds_of(sharpe_interval(returns, YEAR, shortest_block=48.0))
    gains = trades.get_column("realised").to_numpy()
    if gains.size >= 8:
        wins, losses = np.maximum(gains, 0.0), np.maximum(-gains, 0.0)
        sums = np.column_stack([gains > 0, wins, losses]).astype(np.float64)
        how: dict[str, Any] = {"driver": gains, "shortest_block": 10.0}
        found["win_rate"] = bounds_of(bootstrap_interval(sums, lambda m: m[..., 0], **how))
        found["profit_factor"] = bounds_of(
            bootstrap_interval(sums, lambda m: m[..., 1] / m[..., 2], **how)
        )
    if outcome is not None and gains.size >= 8:
        found["entry_hits"] = bounds_of(entry_hits(trades, outcome))
    year = (result.equity.get_column("known_at") - HOUR).dt.year().to_numpy()
    found["years"] = {
        int(one): round(float(np.prod(1.0 + returns[year == one]) - 1.0), 3)
        for one in np.unique(year)
    }
    return found


def entry_hits(trades: pl.DataFrame, outcome: pl.DataFrame) -> Any:
    """Return the interval of the share of entries after which the price went the right way."""
    known = (
        trades.select("symbol", "side", known_at=pl.col("entered_at") - HOUR)
        .join(
            outcome.select("symbol", "known_at", after="realised"),
            on=["symbol", "known_at"],
            how="inner",
        )
        .drop_nulls("after")
        .sort("known_at")
    )
    at = known.get_column("known_at").dt.timestamp("us").to_numpy()
    right = ((known["after"] > 0) == (known["side"] == "long")).to_numpy()
    return accuracy_interval(at, right, shortest_block=10.0)


def bounds_of(interval: Any) -> tuple[float, float, float]:
    """Return value, lower and upper bound."""
    return tuple(round(x, 3) for x in (interval.value, interval.lower, interval.upper))


def show(name: str, found: dict[str, Any]) -> None:
    """Print one line of JSON."""
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps({"name": name, **plain}), flush=True)


def holdout(home: Path, models: Sequence[str]) -> None:
    """Print what the rule and the models' final fits made of the hold-out: it is spent by looking."""
    start, end = HOLDOUT
    result, _, outcome = rule_result(TEN, start, end, BURST)
    show("hold-out burst", figures(result, outcome))
    for model in models:
        config = config_of(model)
        window = plan_holdout(AS_OF, FIRST + HOUR, config, timeframe=HOUR)
        if window is None:
            continue
        span = (window.train_start, window.test_start, window.test_end)
        panel = panel_of(config, AS_OF)
        scored_window(panel, config, span, f"hold-out {model}").write_parquet(
            home / f"{model}.parquet"
        )
    judge(home, models, start, end)


def main(arguments: list[str]) -> None:
    """Run one of the commands that the module's docstring names."""
    if arguments[:1] == ["rule"]:
        rule()
        return
    command, home, *models = arguments
    folder = Path(home)
    folder.mkdir(parents=True, exist_ok=True)
    if command == "walk":
        walk(folder, models)
    elif command == "holdout":
        looked_at = folder / "holdout"
        if looked_at.exists():
            raise SystemExit(f"{looked_at}: scored before; whoever looks twice chooses by it")
        looked_at.mkdir()
        holdout(looked_at, models)
    else:
        judge(folder, models, *ERAS["2022-01 to 2024-12"])


if __name__ == "__main__":
    main(sys.argv[1:])
