"""Decisions about who is champion, as rows with a reason: also what was refused, and what was not done."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.tables import DECISIONS, DecisionOutcome


@dataclass(frozen=True)
class Decision:
    """One decision about one version.

    Attributes
    ----------
    outcome : DecisionOutcome
        `ready` is what evidence would promote and the mode leaves to a person; `kept` leaves the
        champion; `refused` is what a person asked for and cannot be.
    champion : str
        Of the instant, empty before there is one.
    version : str
        Whom it is about.
    reason, decided_by : str
    effective_from : datetime or None
        From when on `version` is champion, or, rolled back, no longer.
    evidence : float or None
        e-value.
    """

    outcome: DecisionOutcome
    champion: str
    version: str
    reason: str
    decided_by: str
    effective_from: datetime | None = None
    evidence: float | None = None


def write_decisions(
    context: Context, step: str, decisions: Sequence[Decision], as_of: datetime
) -> bool:
    """Make the decisions of a step at `as_of` these; False if they stand already."""
    rows = [{**asdict(one), "step": step, "known_at": as_of} for one in decisions]
    hour = as_of - timeframe_delta(context.settings.timeframe)
    frame = pl.DataFrame(rows, schema=DECISIONS.schema)
    return context.lake.replace(DECISIONS, frame, start=hour, end=as_of, where={"step": [step]})


def add_decision(context: Context, step: str, decision: Decision, as_of: datetime) -> bool:
    """Append a decision to those of a step at `as_of`; False if it stands already.

    What a person decides twice in an hour about one version stands once, as decided last.
    """
    hour = as_of - timeframe_delta(context.settings.timeframe)
    standing = context.lake.read(DECISIONS.name, start=hour, end=as_of)
    row = {**asdict(decision), "step": step, "known_at": as_of}
    key = [pl.col(name) == row[name] for name in DECISIONS.key]
    others = standing.filter((pl.col("step") == step) & ~pl.all_horizontal(key))
    frame = pl.concat([others, pl.DataFrame([row], schema=DECISIONS.schema)])
    return context.lake.replace(DECISIONS, frame, start=hour, end=as_of, where={"step": [step]})
