"""A person promotes a version, or rolls the champion back."""

from datetime import datetime

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError
from pipelines.ledger import Promotion
from pipelines.promotion.decisions import add_decision
from pipelines.promotion.roles import mirror_roles
from pipelines.promotion.succession import Claim, granted, succeed

STEP = "change_champion"
PROMOTE, ROLL_BACK = ACTIONS = ("promote", "rollback")


def change_champion(
    context: Context,
    as_of: datetime,
    action: str,
    version: str | None,
    reason: str,
    decided_by: str,
) -> StepReport:
    """Make a version champion by hand, or give the role back to the one before.

    No gate is asked: a person knows better, and says why. It holds from the next hour that no book has
    traded.

    Reads: the ledger, the registry. Writes: the ledger (promotions, audit), decisions (a row, also of a
    refusal), aliases and tags in MLflow.
    Re-run: finds that it was done, whoever is champion since, and writes nothing. The same words for the
    same instant are one request.

    Parameters
    ----------
    context : Context
    as_of : datetime
        When it was asked for.
    action : {"promote", "rollback"}
    version : str or None
        Whom to promote; of a rollback None.
    reason, decided_by : str
        Why, and who says so; both are kept in the audit chain.

    Raises
    ------
    ConfigError
        If the form is wrong, or the version cannot serve: the refusal is a row, nothing else was written.
    """
    check_as_of(as_of, context.settings.timeframe)
    if action not in ACTIONS:
        raise ConfigError(f"action {action!r} is not known", remedy=f"one of {', '.join(ACTIONS)}")
    if not reason.strip() or not decided_by.strip():
        raise ConfigError(
            f"{action} has no reason or nobody who decided it",
            remedy="say why with --reason: it is kept for who reads the ledger later",
        )
    promotions = context.ledger.promotions()
    if not promotions:
        raise ConfigError(
            "no model is champion yet: nothing to change", remedy="run `hourglass train`"
        )
    newest, step = promotions[-1], timeframe_delta(context.settings.timeframe)
    words = {"reason": reason.strip(), "decided_by": decided_by.strip()}
    asked = {"action": action, "version": version, "asked_at": format_instant(as_of), **words}
    done = next((one for one in promotions if one.evidence == asked), None)
    if done is not None:
        changed = add_decision(context, STEP, granted(done), min(as_of, done.effective_from - step))
        mirror_roles(context)
        return StepReport(STEP, as_of, changed, _detail(action, done, changed=False))
    target = _target(context, action, version, newest)
    if target == newest.version:
        mirror_roles(context)
        return StepReport(STEP, as_of, False, _detail(action, newest, changed=False))
    # A home that lives in the past is overruled there.
    asked_at = min(as_of, context.ledger.last_traded_at() or as_of)
    claim = Claim(
        target,
        succeeding=newest.version,
        kind="hand" if action == PROMOTE else "rollback",
        reason=words["reason"],
        decided_by=words["decided_by"],
        evidence=asked,
    )
    decision = succeed(context, claim, asked_at + step)
    add_decision(context, STEP, decision, asked_at)
    if decision.outcome == "refused":
        raise ConfigError(
            f"{action} to version {target} was refused: {decision.reason}",
            remedy="`hourglass status` lists the books that trade",
        )
    mirror_roles(context)
    return StepReport(
        STEP, as_of, True, _detail(action, context.ledger.promotions()[-1], changed=True)
    )


def _target(context: Context, action: str, version: str | None, newest: Promotion) -> str:
    if action == ROLL_BACK:
        if newest.previous is None:
            raise ConfigError(
                f"there was no champion before version {newest.version}",
                remedy="promote another version by name",
            )
        return newest.previous
    known = [info.version for info in context.registry.versions()]
    if version is None or version not in known:
        raise ConfigError(
            f"version {version!r} is not registered; nothing was written",
            remedy=f"known: {', '.join(known)}",
        )
    return version


def _detail(action: str, standing: Promotion, *, changed: bool) -> dict[str, object]:
    return {
        "action": action,
        "version": standing.version,
        "previous": standing.previous,
        "effective_from": format_instant(standing.effective_from),
        "changed": changed,
        "reason": standing.reason,
        "decided_by": standing.decided_by,
    }
