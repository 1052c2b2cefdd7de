"""Trade one model or baseline over a span of the lake, without the ledger."""

import math
from datetime import datetime
from typing import Any

import polars as pl

from evaluation.backtest import backtest
from pipelines.clock import format_instant, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.ledger.terms import known_filters, traded_symbols
from serving.books import FEATURES_READ, SCORES_READ, STRATEGIES

_KEY = ("venue", "symbol", "known_at")
_BARS_READ = (*_KEY, "open", "high", "low", "close", "volume")


def backtest_model(context: Context, model: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Run the books' engine over the bars with `start < known_at <= end` and explain the result.

    Reads: bars, features, scores, out_of_fold_scores, and the ledger's promotions and recorded
    venue filters. Writes: nothing. Re-run: the same answer.

    Parameters
    ----------
    context : Context
    model : str
        A model version, ``champion`` (as of `end`), or a baseline strategy. A version is traded on
        scores it gave of bars it was not fitted on: live scores, before them those of its
        walk-forward test windows.
    start, end : datetime

    Returns
    -------
    dict
        ``{"model", "strategy", "start", "end", "symbols", "metrics", "waterfall", "orders", "fills",
        "risk_events"}``; the last three are counts, `waterfall` maps stages to counts.

    Raises
    ------
    ConfigError
        If the span is empty or there is no champion.
    ContractViolation
        If the span has no bars, or the version does not exist or has no scores in it.
    """
    if start >= end:
        raise ConfigError(
            f"the span {format_instant(start)} to {format_instant(end)} is empty",
            remedy="give an --end after --start",
        )
    settings = context.settings
    strategy = model if model in STRATEGIES and model != "model" else "model"
    version = None if strategy != "model" else _version(context, model, end)
    symbols = traded_symbols(context, ())
    bars = _read(context, "bars", _BARS_READ, start, end, symbols)
    if bars.is_empty():
        raise ContractViolation(
            f"no bar is known between {format_instant(start)} and {format_instant(end)}",
            remedy="backfill the span first, or choose one from `hourglass tables`",
        )
    features = _read(context, "features", (*_KEY, *FEATURES_READ), start, end, symbols)
    scores = None if version is None else _scores(context, version, start, end, symbols)
    timeframe = timeframe_delta(settings.timeframe)
    result = backtest(
        bars,
        features,
        scores,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=timeframe,
        strategy=strategy,
        symbols=symbols,
        first=start + timeframe,
        last=end,
        filters=known_filters(context, context.ledger.standings()),
    )
    return {
        "model": version or strategy,
        "strategy": strategy,
        "start": format_instant(start),
        "end": format_instant(end),
        "symbols": list(symbols),
        "metrics": {k: None if math.isnan(v) else v for k, v in result.metrics.items()},
        "waterfall": dict(result.waterfall.iter_rows()),
        "orders": result.orders.height,
        "fills": result.fills.height,
        "risk_events": result.risk_events.height,
    }


def _version(context: Context, model: str, end: datetime) -> str:
    if model != "champion" and not model.isdigit():
        baselines = [name for name in STRATEGIES if name != "model"]
        raise ConfigError(
            f"--model {model!r} is neither champion, nor a version, nor a baseline",
            remedy=f"name a version of `hourglass status`, champion, or {' or '.join(baselines)}",
        )
    version = context.ledger.champion_at(end) if model == "champion" else model
    if version is None:
        raise ConfigError(
            f"there is no champion at {format_instant(end)}",
            remedy="run `hourglass train`, or name a version or a baseline with --model",
        )
    return version


def _read(
    context: Context,
    table: str,
    columns: tuple[str, ...],
    start: datetime,
    end: datetime,
    symbols: tuple[str, ...],
) -> pl.DataFrame:
    frame = context.lake.read(table, start=start, end=end, symbols=symbols, columns=columns)
    return frame.filter(pl.col("venue") == context.settings.venue)


def _scores(
    context: Context, version: str, start: datetime, end: datetime, symbols: tuple[str, ...]
) -> pl.DataFrame:
    training_id = context.registry.version_info(version).training_id
    live = _read(context, "scores", (*_KEY, "model_version", *SCORES_READ), start, end, symbols)
    live = live.filter(pl.col("model_version") == version).drop("model_version")
    columns = (*_KEY, "training_id", *SCORES_READ)
    tested = _read(context, "out_of_fold_scores", columns, start, end, symbols)
    tested = tested.filter(pl.col("training_id") == training_id).drop("training_id")
    scores = pl.concat([live, tested.join(live, on=_KEY, how="anti")])
    if scores.is_empty():
        raise ContractViolation(
            f"model version {version} has no out-of-sample scores between {format_instant(start)} "
            f"and {format_instant(end)}",
            remedy="choose a span it has tested on or traded: `hourglass tables out_of_fold_scores`",
        )
    return scores
