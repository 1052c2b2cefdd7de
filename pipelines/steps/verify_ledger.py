"""Check the whole ledger, once a day: balances, positions, journal, lots, audit chain."""

from datetime import datetime

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation

_NAMED = 3


def verify_ledger(context: Context, as_of: datetime) -> StepReport:
    """Recompute the ledger from nothing (`Ledger.verify`); refuse one that differs.

    Reads: the ledger, all of it. Writes: nothing. Re-run: finds the same.
    """
    check_as_of(as_of, context.settings.timeframe)
    findings = context.ledger.verify()
    if findings:
        more = f" and {len(findings) - _NAMED} more" if len(findings) > _NAMED else ""
        raise ContractViolation(
            f"ledger: {'; '.join(findings[:_NAMED])}{more}",
            remedy="stop trading, `hourglass restore --replace` a backup, then replay the hours since",
        )
    return StepReport("verify_ledger", as_of, changed=False, detail={"findings": 0})
