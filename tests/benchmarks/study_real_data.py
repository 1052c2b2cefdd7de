"""What models and one plain rule are worth on ten real pairs; docs/real_data.md holds what came out.

Run from the repository, with the real market data beside it (../shared/market)::

    study_real_data.py walk HOME MODEL...   fit the twelve windows of 2022-2024, keep their scores
    study_real_data.py judge HOME MODEL...  forecasts and the engine's net result of those scores
    study_real_data.py rule                 the momentum burst, era by era, beside its gate alone
    study_real_data.py holdout HOME MODEL...  2025-01 to 2025-06, rule and models: look once

Returns come from the engine, at the default costs of a book. Prints; asserts nothing.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from real_pairs import AS_OF, FIRST, HOUR, TEN, history, load_bars
from record_figures import (
    MODEL_RISK,
    YEAR,
    bounds_of,
    figures,
    placed,
    returns_of,
    show,
    show_regimes,
    span_inputs,
    traded,
)

from evaluation.backtest import BacktestResult
from evaluation.intervals import accuracy_interval, sharpe_interval
from evaluation.overfitting import deflate_record
from features.matrix import build_matrix
from serving.books import FEATURES_READ, Inputs, Scores
from serving.config import RiskConfig
from training.config import TrainingConfig
from training.holdout import plan_holdout
from training.panel import Panel, build_panel
from training.walk_forward import fit_span, plan_windows, score_rows, study_end

Floats = npt.NDArray[np.float64]

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

# Threshold, span and weight were fixed before the earlier eras were looked at, all of the rule before the
# hold-out was.
BURST, HOLD, WEIGHT = 2.25, 48, 0.1
RULE_READS = ("log_return_24", "realised_vol_168", "sma_distance_720")
RULE_RISK = RiskConfig(
    ramp_start=1.0, stop_atr_multiple=8.0, max_portfolio_heat=0.2, no_trade_band=0.0
)
TRIALS = 192
"""All looks at 2022-2024, by whomever; docs/real_data.md counts them."""
TRIAL_VARIANCE, WORTHLESS_VARIANCE = 0.74, 1.0 / 3.0
"""Of annual Sharpe ratios: among the looks that went through the engine, and of three years of luck."""
ERAS = {
    "2018-08 to 2019-09": (datetime(2018, 8, 1, tzinfo=UTC), datetime(2019, 10, 1, tzinfo=UTC)),
    "2019-10 to 2020-11": (datetime(2019, 10, 1, tzinfo=UTC), datetime(2020, 12, 1, tzinfo=UTC)),
    "2020-12 to 2021-12": (datetime(2020, 12, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)),
    "2022-01 to 2024-12": (datetime(2022, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
}
HOLDOUT = (datetime(2025, 1, 1, tzinfo=UTC), AS_OF)


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
        show_regimes(result, inputs)
    for baseline in ("buy_and_hold", "ema_crossover"):
        show(baseline, figures(traded(inputs, None, MODEL_RISK, baseline), None))


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
