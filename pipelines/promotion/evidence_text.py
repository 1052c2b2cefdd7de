"""A proposal in words: what a person reads before approving or rejecting it."""

from datetime import datetime

from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.ledger import Promotion
from pipelines.promotion.candidates import Candidate


def proposal_text(context: Context, reign: Promotion, candidate: Candidate, as_of: datetime) -> str:
    """Return the evidence for a promotion as markdown: the difference, the equities, every gate."""
    row = candidate.look.net_return
    books = {book["book"]: book for book in context.ledger.status(as_of)["books"]}
    lines = [
        f"**Version {candidate.version}** shall succeed **version {reign.version}**, champion since "
        f"{format_instant(reign.effective_from)}; judged at {format_instant(as_of)} on "
        f"{row['bars']:,} bars both traded since {format_instant(row['since'])}.",
        "",
        f"It earned {row['mean_difference']:+.1%} more a year (log return, at full size), between "
        f"{_share(row['lower'])} and {_share(row['upper'])} at level {row['level']:.3g}, whenever one looks.",
        "",
        "| book | equity | fills |",
        "|---|---:|---:|",
        *(
            f"| {name} | {books[name]['equity']:,.2f} | {books[name]['fills']:,} |"
            for name in (f"model-{candidate.version}", f"model-{reign.version}")
            if name in books
        ),
        "",
        "| gate | observed | wanted | |",
        "|---|---:|---:|---|",
        *(
            f"| {gate.name} | {gate.observed:.4g} | {gate.rule} {gate.bound:.4g} | "
            f"{'passed' if gate.passed else 'FAILED'} |"
            for gate in candidate.candidacy.gates
        ),
    ]
    return "\n".join(lines)


def _share(bound: float | None) -> str:
    return "not bounded yet" if bound is None else f"{bound:+.1%}"
