"""The verb: every model under every configuration over one span, through the engine of the books."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from evaluation.backtest import Outcome, backtest_all, evaluate_all
from evaluation.metrics import annual_return, turnover
from evaluation.waterfall import explain_silence
from pipelines.backtests.examinations import Examined, examine
from pipelines.backtests.request import Request, Run, Trader, plain, setup_of
from pipelines.backtests.scores import scores_of, version_named
from pipelines.backtests.span import Span, digest_of, read_span
from pipelines.backtests.variants import Variant
from pipelines.backtests.writing import write_reports
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ContractViolation
from serving.allocation import history_bars_of
from serving.books import Inputs, Scores, build_inputs, place_scores
from serving.limits import bars_per_year

Progress = Callable[[int, int, str], None]
_TABLE = ("total_return", "annual_return", "sharpe", "max_drawdown", "turnover", "fees")


def run_backtests(context: Context, request: Request, progress: Progress) -> dict[str, Any]:
    """Trade every model under every configuration and explain the results.

    Reads: bars, features, scores, out_of_fold_scores, the ledger's promotions and recorded venue
    filters, and the files of a version where bars have to be scored. Writes: reports, and nothing
    else. Re-run: the same answer in the same folder.

    Returns
    -------
    dict
        ``id``, ``start``, ``end``, ``symbols``, ``runs`` (a row each, by net return), ``in_sample``,
        ``notes``, ``report`` (the folder or None). Of a single run also ``model``, ``strategy``,
        ``config``, ``metrics``, ``waterfall`` (stage to count), ``explanation``, the counts
        ``orders``, ``fills``, ``risk_events``, ``trades``, and its examinations.

    Raises
    ------
    ConfigError
        If the request contradicts itself, the span is empty or there is no champion.
    ContractViolation
        If the span has no bars, a version does not exist or has no honest scores in it, or the data
        are refused at the engine's door.
    """
    request.check()
    span = read_span(context, request.start, request.end, history_bars=_history_bars(request))
    traders = [
        _trader(context, model, span, request, progress) for model in dict.fromkeys(request.models)
    ]
    examined: dict[str, Examined] = {}
    try:
        runs = sorted(_runs(request, span, traders, examined, progress), key=_by_net_return)
    except ValueError as error:
        raise ContractViolation(
            str(error),
            remedy="mend the table, the capital or the configuration; nothing was traded",
        ) from error
    details = {run.name: _details(run, examined) for run in runs if run.result is not None}
    answer = _answer(request, span, traders, runs)
    if len(runs) == 1:
        answer |= details[runs[0].name]
    if request.reported:
        folder = request.report or context.settings.home / "reports" / "backtests" / answer["id"]
        answer["report"] = str(folder)
        write_reports(folder, answer, details, span, runs, examined, request.formats, progress)
    return answer


def run_id(request: Request, span: Span, traders: list[Trader]) -> str:
    """Return the identity of a request and of the data it met, 16 hexadecimal digits."""
    scores = (trader.scored.scores for trader in traders if trader.scored is not None)
    identity = {
        "traders": [(trader.strategy, trader.version) for trader in traders],
        "start": format_instant(span.start),
        "end": format_instant(span.end),
        "symbols": span.symbols,
        "filters": {symbol: asdict(span.filters[symbol]) for symbol in span.symbols},
        "variants": [(v.name, v.as_json()) for v in request.variants],
        "extras": asdict(request.extras),
        "data": digest_of(span.bars_with_history(), span.features, span.funding, *scores),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _trader(
    context: Context, model: str, span: Span, request: Request, progress: Progress
) -> Trader:
    version = version_named(context, model, span.end)
    if version is None:
        return Trader(model, model, None, None)
    allowed = request.allow_in_sample
    scored = scores_of(context, version, span, allow_in_sample=allowed, progress=progress)
    return Trader(f"model-{version}", "model", version, scored)


def _runs(
    request: Request,
    span: Span,
    traders: list[Trader],
    examined: dict[str, Examined],
    progress: Progress,
) -> Iterator[Run]:
    inputs = build_inputs(
        span.bars_with_history(),
        span.features,
        **span.panel_terms(),
        history_bars=_history_bars(request),
    )
    for trader in traders:
        scored = trader.scored
        placed = None if scored is None else place_scores(inputs.panel, scored.scores)
        if not request.explained:
            yield from _searched(request, trader, inputs, placed, progress)
            continue
        for run in _explained(request, trader, inputs, placed, progress):
            examined[run.name] = examine(request.extras, span, inputs, placed, run, progress)
            yield run


def _history_bars(request: Request) -> int:
    return max(history_bars_of(variant.risk) for variant in request.variants)


def _explained(
    request: Request, trader: Trader, inputs: Inputs, placed: Scores | None, progress: Progress
) -> list[Run]:
    results = backtest_all(
        inputs,
        placed,
        [setup_of(variant) for variant in request.variants],
        strategy=trader.strategy,
        progress=_told(progress, trader),
    )
    return [
        Run(
            _name(trader, variant, request),
            trader,
            variant,
            {**{name: result.metrics[name] for name in _TABLE}, "fills": result.metrics["fills"]},
            result,
        )
        for variant, result in zip(request.variants, results, strict=True)
    ]


def _searched(
    request: Request, trader: Trader, inputs: Inputs, placed: Scores | None, progress: Progress
) -> Iterator[Run]:
    year = bars_per_year(inputs.panel.timeframe)
    outcomes = evaluate_all(
        inputs,
        placed,
        [setup_of(variant) for variant in request.variants],
        strategy=trader.strategy,
        progress=_told(progress, trader),
    )
    for variant, outcome in zip(request.variants, outcomes, strict=True):
        yield Run(_name(trader, variant, request), trader, variant, _figures(outcome, year))


def _figures(outcome: Outcome, year: float) -> dict[str, float]:
    return {
        "total_return": outcome.net_return,
        "annual_return": annual_return(outcome.equity, year),
        "sharpe": outcome.sharpe,
        "max_drawdown": outcome.max_drawdown,
        "turnover": turnover(outcome.traded, outcome.equity, year),
        "fees": outcome.fees,
    }


def _told(progress: Progress, trader: Trader) -> Callable[[int, int], None]:
    return lambda done, total: progress(done, total, f"traded {trader.name}")


def _name(trader: Trader, variant: Variant, request: Request) -> str:
    return trader.name if len(request.variants) == 1 else f"{trader.name} {variant.name}"


def _by_net_return(run: Run) -> tuple[float, str]:
    value = run.figures["total_return"]
    return (math.inf if math.isnan(value) else -value, run.name)


def _answer(
    request: Request,
    span: Span,
    traders: list[Trader],
    runs: list[Run],
) -> dict[str, Any]:
    notes = [f"{t.name}: {note}" for t in traders if t.scored for note in t.scored.notes]
    return {
        "id": run_id(request, span, traders),
        "start": format_instant(span.start),
        "end": format_instant(span.end),
        "symbols": list(span.symbols),
        "in_sample": {t.name: stamp for t in traders if (stamp := t.stamp())} or None,
        "notes": [*(t.warning() for t in traders if t.warning()), *notes],
        "report": None,
        "runs": [run.row() for run in runs],
    }


def _details(run: Run, examined: dict[str, Examined]) -> dict[str, Any]:
    """Return everything of one explained run, as JSON types; the tables of events as their counts."""
    if run.result is None:
        return {}
    result = run.result
    return {
        "model": run.trader.version or run.trader.strategy,
        "strategy": run.trader.strategy,
        "config": run.variant.as_json(),
        "metrics": plain(result.metrics),
        "waterfall": dict(result.waterfall.iter_rows()),
        "explanation": explain_silence(result.waterfall),
        "orders": result.orders.height,
        "fills": result.fills.height,
        "risk_events": result.risk_events.height,
        "trades": result.trades.height,
        **examined[run.name].as_json(),
    }
