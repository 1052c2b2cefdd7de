"""The model card: what a person reads before trusting a model, in Markdown.

It stands as `card.md` on the training's run, as the run's description, and as the description of the
registered version. The registry keeps `LONGEST` characters.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evaluation.gates import Gate
from pipelines.clock import format_instant
from pipelines.tracking.checks import ASKED
from pipelines.tracking.evidence import Evidence
from pipelines.tracking.plan import TrainingPlan
from pipelines.tracking.runs import COMMIT_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

CARD_FILE = "card.md"
LONGEST = 5_000
_LONGEST_TAG = 4_000

_RESULTS = (
    ("total_return", "total return", "{:.1%}"),
    ("sharpe", "Sharpe ratio, annual", "{:.2f}"),
    ("max_drawdown", "deepest drawdown", "{:.1%}"),
    ("win_rate", "win rate", "{:.1%}"),
    ("profit_factor", "profit factor", "{:.2f}"),
    ("trades", "trades", "{:.0f}"),
    ("buy_and_hold_sharpe", "Sharpe ratio of buy and hold", "{:.2f}"),
    ("champion_sharpe", "Sharpe ratio of the champion", "{:.2f}"),
    ("skill", "log-loss skill [nats a row]", "{:.4f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("directional_accuracy", "directional accuracy", "{:.1%}"),
    ("confident_directional_accuracy", "the same, surest tenth", "{:.1%}"),
    ("interval_coverage", "interval coverage", "{:.1%}"),
    ("calibration_error", "calibration error", "{:.3f}"),
    ("calibration_error_before", "before calibration", "{:.3f}"),
    ("return_slope", "realised on expected return, slope", "{:.2f}"),
)
_WORDS = {"sharpe": "Sharpe ratio", "log_loss": "Log loss"}
_LIMITS = (
    "Paper trading only; fills, impact and fees are modelled (`waterfall.json`).",
    "Labels of neighbouring rows overlap: intervals resample blocks of a horizon or more, and "
    "conformal coverage is measured, not guaranteed.",
    "The charge for searching takes Sharpe ratios of trials on inner folds for those of records; the test "
    "windows themselves were not searched.",
    "The universe is today's choice: pairs that were delisted before are not in it.",
    "Where gates failed, the text beside them says what was not shown.",
)


def explained(gates: Iterable[Gate], untold: Mapping[str, str]) -> list[Gate]:
    """Return gates whose meaning says why, by their names, what they ask for could not be measured."""
    return [
        replace(gate, meaning=f"{gate.meaning}; {untold[gate.name]}")
        if math.isnan(gate.observed) and gate.name in untold
        else gate
        for gate in gates
    ]


def verdict_tags(gates: Sequence[Gate]) -> dict[str, str]:
    """Return the verdicts as tags: one a gate, what failed with its reason, and `unfit` if that is so."""
    tags = {f"gate.{gate.name}": "passed" if gate.passed else "failed" for gate in gates}
    failed = "; ".join(reason_of(gate) for gate in gates if not gate.passed)
    tags["gates.failed"] = failed[:_LONGEST_TAG] or "none"
    unfit = unfit_reasons(gates)
    return tags | ({"unfit": "; ".join(unfit)[:_LONGEST_TAG]} if unfit else {})


def unfit_reasons(gates: Iterable[Gate]) -> list[str]:
    """Return why nothing of a training is to be believed: a known answer that it did not give."""
    return [reason_of(gate) for gate in gates if not gate.passed and gate.name.startswith(ASKED)]


def reason_of(gate: Gate) -> str:
    """Return a gate in one sentence: name, number, rule, bound, meaning."""
    return f"{gate.name} is {_number(gate.observed)}, wanted {_wanted(gate)}: {gate.meaning}"


def card(
    run: "Run",
    plan: TrainingPlan,
    evidence: Evidence,
    gates: Sequence[Gate],
    metrics: Mapping[str, float],
) -> str:
    """Return the card of a judged training, Markdown of at most `LONGEST` characters.

    Parameters
    ----------
    run : Run
        Parent run, for its tags and parameters.
    plan : TrainingPlan
    evidence : Evidence
    gates : sequence of Gate
    metrics : mapping
        As logged on the run.
    """
    parts = [
        *_title(run, plan, gates),
        *_results(plan, metrics),
        *_gates(gates),
        *_findings(evidence),
        *_origin(run, plan),
        "### Known limits",
        "",
        *(f"- {limit}" for limit in _LIMITS),
    ]
    return brief("\n".join(parts) + "\n")


def brief(text: str, longest: int = LONGEST) -> str:
    """Return a text cut at a line's end if it is longer than the registry keeps, saying so."""
    if len(text) <= longest:
        return text
    tail = f"\n\n*Cut here; the run's {CARD_FILE} and evidence.json hold it all.*\n"
    return text[: longest - len(tail)].rpartition("\n")[0] + tail


def _title(run: "Run", plan: TrainingPlan, gates: Sequence[Gate]) -> list[str]:
    config, params = plan.training, run.data.params
    unfit = unfit_reasons(gates)
    passed = sum(gate.passed for gate in gates)
    verdict = f"**{passed} of {len(gates)} gates passed.**"
    return [
        f"**{config.model}** that foresees {config.label.horizon_bars} bars "
        f"({config.label.kind} labels) of {params.get('symbols', '?')} symbols from "
        f"{params.get('features', '?')} features; trained as of {format_instant(plan.as_of)}.",
        "",
        *([f"**Unfit, do not believe it:** {'; '.join(unfit)}.", ""] if unfit else []),
        verdict,
        "",
    ]


def _results(plan: TrainingPlan, metrics: Mapping[str, float]) -> list[str]:
    first, last = plan.windows[0].test_start, plan.windows[-1].test_end
    rows = []
    for name, words, form in _RESULTS:
        if not math.isfinite(metrics.get(name, math.nan)):
            continue
        ends = [metrics.get(f"{name}_{end}", math.nan) for end in ("lower", "upper")]
        known = all(math.isfinite(end) for end in ends)
        interval = " to ".join(form.format(end) for end in ends) if known else ""
        rows.append(f"| {words}&ensp; | {form.format(metrics[name])}&ensp; | {interval} |")
    return [
        f"### Out of fold, net of costs: {len(plan.windows)} windows, "
        f"{format_instant(first)[:10]} to {format_instant(last)[:10]}",
        "",
        f"| | value | {plan.training.evidence.level:.0%} interval |",
        "|:---|---:|:---|",
        *rows,
        "",
    ]


def _gates(gates: Sequence[Gate]) -> list[str]:
    rows = [
        f"| {'passed' if gate.passed else '**failed**'}&ensp; | {gate.name}&ensp; | "
        f"{_number(gate.observed)}&ensp; | {_wanted(gate)}&ensp; | {gate.meaning} |"
        for gate in gates
    ]
    return [
        "### Gates",
        "",
        "| | gate | observed | wanted | meaning |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _findings(evidence: Evidence) -> list[str]:
    life, record = evidence.life, evidence.record
    lines = [
        f"- {life.moments.trials} trials in {life.trainings} trainings were charged: the best of as many "
        f"without skill would show a Sharpe ratio of {record.deflated.expected_maximum:.2f}.",
        f"- Record of {record.bars} bars; {_number(record.track_record_bars)} would prove its Sharpe "
        "ratio to be above zero.",
    ]
    if record.confidence_set is not None:
        lines.append(f"- Not told from the best: {', '.join(record.confidence_set.included)}.")
    lines += [
        f"- {_WORDS[one.metric]}, mean of the windows: {one.in_sample:.3g} in sample, "
        f"{one.out_of_sample:.3g} out of it."
        for one in evidence.degradation
        if one.metric in _WORDS
    ]
    if evidence.importance is not None:
        lines.append(
            f"- Importance against the training before: rank correlation "
            f"{evidence.importance.mean_spearman:.2f}."
        )
    if evidence.holdout is not None:
        held = evidence.holdout
        lines.append(
            f"- Hold-out {format_instant(held.window.test_start)[:10]} to "
            f"{format_instant(held.window.test_end)[:10]}: skill {held.skill:.4f} nats, Sharpe ratio "
            f"{held.metrics['sharpe']:.2f}; {held.spent_share:.0%} of it was looked at before."
        )
    if evidence.path_sharpes is not None:
        ratios = evidence.path_sharpes
        lines.append(
            f"- Sharpe ratio along {ratios.size} combinatorial paths: {ratios.min():.2f} to "
            f"{ratios.max():.2f}; they begin with the span on which the parameters were chosen."
        )
    return ["### What else was asked", "", *lines, *_regimes(evidence), ""]


def _regimes(evidence: Evidence) -> list[str]:
    if evidence.forecasts.regimes is None:
        return []
    told = [
        f"{row['regime']} {row['skill']:.4f} ({row['share']:.0%})"
        for row in evidence.forecasts.regimes.to_dicts()
    ]
    return [f"- Skill by regime, with its share of the rows: {', '.join(told)}."]


def _origin(run: "Run", plan: TrainingPlan) -> list[str]:
    tags: Mapping[str, Any] = run.data.tags
    versions = ", ".join(f"{table} {number}" for table, number in plan.versions.items())
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in plan.params.items())
    airflow = tags.get("airflow.url")
    return [
        "### Where it comes from",
        "",
        f"- Training `{plan.training_id}`, run `{run.info.run_id}`: check it with "
        f"`hourglass train --reproduce {run.info.run_id}`.",
        *([f"- [Airflow run {tags['airflow.run_id']}]({airflow})"] if airflow else []),
        f"- Table versions: {versions}; data `{plan.data_hash[:12]}`, features `{plan.feature_set[:12]}`.",
        f"- Source `{tags.get(COMMIT_TAG, 'unknown')[:12]}`, seed "
        f"{plan.training.search.seed}; {chosen or 'no searched parameters'}.",
        "",
    ]


def _wanted(gate: Gate) -> str:
    return f"{gate.rule} {_number(gate.bound)}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    return "no length" if math.isinf(value) else f"{value:.4g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
