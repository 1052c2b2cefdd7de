"""Do what a person answered to a proposed promotion."""

from datetime import datetime
from typing import Any

import polars as pl

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError
from pipelines.promotion.decisions import Decision, write_decisions
from pipelines.promotion.roles import mirror_roles
from pipelines.promotion.succession import Claim, succeed
from pipelines.tables import DECISIONS, PROMOTION_GATES

STEP = "settle_promotion"
APPROVE, REJECT = ANSWERS = ("Approve", "Reject")
NOBODY = "nobody answered in time"


def settle_promotion(
    context: Context, as_of: datetime, version: str, answer: str, decided_by: str
) -> StepReport:
    """Promote the version that was proposed at `as_of`, or write down that it was rejected.

    An approved version becomes champion from the next hour that no book has traded, if the champion it
    was compared with still reigns and it can still serve; else the refusal is a row.

    Reads: decisions and promotion_gates of `as_of`, the ledger, the registry. Writes: decisions (the row
    of `as_of`), the ledger (promotions, audit), aliases and tags in MLflow.
    Re-run: finds its row and changes nothing.

    Parameters
    ----------
    context : Context
    as_of : datetime
        Of the proposal.
    version : str
    answer : {"Approve", "Reject"}
    decided_by : str
        Who answered; kept in the audit chain.

    Raises
    ------
    ConfigError
        If the answer is neither, nobody is said to have given it, or nothing of the kind was proposed.
    """
    check_as_of(as_of, context.settings.timeframe)
    if answer not in ANSWERS or not decided_by.strip():
        raise ConfigError(
            f"answer {answer!r} by {decided_by!r}",
            remedy=f"{APPROVE} or {REJECT}, and who says so",
        )
    hour = as_of - timeframe_delta(context.settings.timeframe)
    rows = context.lake.read(DECISIONS.name, start=hour, end=as_of)
    about = rows.filter(pl.col("version") == version)
    settled = about.filter(pl.col("step") == STEP)
    if not settled.is_empty():
        mirror_roles(context)
        return StepReport(STEP, as_of, False, _detail(settled.row(0, named=True)))
    proposed = about.filter(pl.col("outcome") == "proposed")
    if proposed.is_empty():
        raise ConfigError(
            f"version {version} was not proposed at {format_instant(as_of)}",
            remedy="`hourglass promotions --decisions` lists what was",
        )
    proposal = proposed.row(0, named=True)
    decision = _decide(context, proposal, answer, decided_by.strip(), as_of)
    write_decisions(context, STEP, [decision], as_of)
    mirror_roles(context)
    return StepReport(STEP, as_of, True, _detail(vars(decision)))


def _decide(
    context: Context, proposal: dict[str, Any], answer: str, decided_by: str, as_of: datetime
) -> Decision:
    champion, version = proposal["champion"], proposal["version"]
    if answer == REJECT:
        reason = NOBODY if decided_by == NOBODY else f"rejected by {decided_by}"
        return Decision(
            "rejected", champion, version, reason, decided_by, evidence=proposal["evidence"]
        )
    claim = Claim(
        version,
        succeeding=champion,
        kind="approval",
        reason=f"approved by {decided_by}",
        decided_by=decided_by,
        evidence={"gates": _gates(context, champion, version, as_of)},
        e_value=proposal["evidence"],
    )
    return succeed(context, claim, as_of + timeframe_delta(context.settings.timeframe))


def _gates(
    context: Context, champion: str, version: str, as_of: datetime
) -> dict[str, float | None]:
    """Return what the person was shown."""
    hour = as_of - timeframe_delta(context.settings.timeframe)
    rows = context.lake.read(PROMOTION_GATES.name, start=hour, end=as_of)
    rows = rows.filter(pl.col("champion") == champion, pl.col("challenger") == version)
    return dict(rows.select("gate", "observed").iter_rows())


def _detail(decision: dict[str, Any]) -> dict[str, Any]:
    hour = decision["effective_from"]
    return {
        "version": decision["version"],
        "outcome": decision["outcome"],
        "reason": decision["reason"],
        "effective_from": None if hour is None else format_instant(hour),
    }
