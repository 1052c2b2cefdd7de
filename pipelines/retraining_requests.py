"""Whether drift asks for an early retraining: one rule and one period, whoever saw it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from evaluation.drift.judgement import Finding
from evaluation.drift.reference import PULSE
from pipelines.clock import FAR_FUTURE, format_instant
from pipelines.context import Context
from pipelines.tables import DRIFT

DECISION = "decision"
RETRAIN = "retrain"


def decide(context: Context, group: str, alarms: Sequence[Finding], as_of: datetime) -> Finding:
    """Return the row that says whether an early retraining is asked for, and why (not).

    At most one request in `drift.retrain_at_most_every_days`, of the pulse and the daily look together,
    and none where a training has begun that knows as much.

    Parameters
    ----------
    group : str
        Of the row: `DECISION` of the daily look, or the pulse's own. At one instant the pulse comes first:
        the daily look knows what it asked for, and it does not know of the daily look.
    alarms : sequence of Finding
    as_of : datetime
    """
    asked, trained, standing = None, "", False
    if alarms:
        asked, standing = _asked(context, group, as_of)
        trained = "" if standing else _trained(context, as_of)
    if not alarms:
        reason = "nothing drifted beyond what it does by chance"
    elif asked is not None:
        reason = f"{len(alarms)} alarms; a retraining was asked for at {format_instant(asked)}"
    elif trained:
        reason = f"{len(alarms)} alarms; a training for {trained} was begun already"
    else:
        surest = min(alarms, key=lambda found: found.joint_p or 0.0)
        named = f"{surest.group} {surest.feature} {surest.statistic}"
        reason = f"{len(alarms)} alarms, first {named}: {surest.reason}"
    due = bool(alarms) and asked is None and not trained
    values = (float(len(alarms)), 0.0, None, None)
    return Finding(group, "*", RETRAIN, *values, len(alarms), due, reason)


def _asked(context: Context, group: str, as_of: datetime) -> tuple[datetime | None, bool]:
    """Return the newest instant of the period at which a retraining was asked for, and if this row did."""
    period = timedelta(days=context.settings.drift.retrain_at_most_every_days)
    columns = ("known_at", "group", "statistic", "alarm")
    rows = context.lake.read(DRIFT.name, start=as_of - period, end=as_of, columns=columns)
    requests = rows.filter(pl.col("statistic") == RETRAIN, "alarm")
    before = pl.col("known_at") < as_of
    if group != PULSE:
        before |= pl.col("group") == PULSE
    newest: datetime | None = requests.filter(before)["known_at"].max()  # type: ignore[assignment]
    own = requests.filter(pl.col("known_at") == as_of, pl.col("group") == group)
    return newest, not own.is_empty()


def _trained(context: Context, as_of: datetime) -> str:
    """Return for when the newest training was begun, if that is not before `as_of`; else nothing."""
    begun = [run.data.tags["as_of"] for run in context.registry.tracking.trainings(FAR_FUTURE)]
    newest = max(begun, default="")
    return newest if newest >= format_instant(as_of) else ""
