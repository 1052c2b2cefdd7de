"""A proposal in words: what a person reads before approving or rejecting it."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evaluation.gates import Gate
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.ledger import Promotion
from pipelines.promotion.candidates import Candidate


def proposal_text(context: Context, reign: Promotion, candidate: Candidate, as_of: datetime) -> str:
    """Return the evidence for a promotion as markdown: the difference, the equities, every gate.

    A gate that is not required says so; what could not be measured has its reason in place of a number.
    """
    row = candidate.look.net_return
    books = {book["book"]: book for book in context.ledger.status(as_of)["books"]}
    required = context.settings.promotion.required
    lines = [
        f"**Version {candidate.version}** shall succeed **version {reign.version}**, champion since "
        f"{format_instant(reign.effective_from)}; judged at {format_instant(as_of)} on "
        f"{row['bars']:,} bars both traded since {format_instant(row['since'])}.",
        "",
        _difference(row),
        "",
        "| book | equity | fills |",
        "|---|---:|---:|",
        *(
            f"| {name} | {books[name]['equity']:,.2f} | {books[name]['fills']:,} |"
            for name in (f"model-{candidate.version}", f"model-{reign.version}")
            if name in books
        ),
        "",
        "| gate | observed | wanted | | what it is |",
        "|---|---:|---:|---|---|",
        *(_gate(candidate, gate, gate.name in required) for gate in candidate.candidacy.gates),
    ]
    return "\n".join(lines)


def _difference(row: Mapping[str, Any]) -> str:
    if row["mean_difference"] is None:
        return f"How much more it earns is not known: {row['reason']}."
    return (
        f"Against the champion it earned {row['mean_difference']:+.1%} a year (log return, at full size), between "
        f"{_share(row['lower'])} and {_share(row['upper'])} at level {row['level']:.3g}, whenever one looks."
    )


def _gate(candidate: Candidate, gate: Gate, required: bool) -> str:
    observed = f"{gate.observed:.4g}" if math.isfinite(gate.observed) else "unknown"
    answer = "passed" if gate.passed else "**FAILED**" if required else "failed, not required"
    told = candidate.reasons.get(gate.name, gate.meaning)
    return f"| {gate.name} | {observed} | {gate.rule} {gate.bound:.4g} | {answer} | {told} |"


def _share(bound: float | None) -> str:
    return "not bounded yet" if bound is None else f"{bound:+.1%}"
