"""Make a judged model a version with a place of its own."""

from datetime import datetime
from typing import Any

from pipelines.clock import timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.ledger import Book
from pipelines.promotion.admission import DECIDER, admit, open_book, opening_of, retire
from pipelines.promotion.roles import book_of, mirror_roles, next_hour
from pipelines.tracking.card import CARD_FILE
from pipelines.tracking.plan import TrainingPlan, feature_set_of, load_plan, run_of

VERDICTS = ("gate.", "gates.failed", "unfit")
"""Beginnings of the tags of a judged run that its version carries, too."""


def register(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Register the training's model and give it its place; the first model of all becomes champion.

    A challenger's book trades from the first bar after `as_of` that no other has traded; where no place
    is free the model is a shadow, scored without a book (see `admit`). Every model of a feature set that
    is no longer built is retired. The ledger decides, the registry's aliases follow it.

    Reads: the judged training.
    Writes: the model version with its card and tags; the ledger (book or shadow, promotion,
    retirements); the aliases; closes the parent run.
    Re-run: finds the version by the training and changes nothing; what a kill left out is added.
    """
    registry = context.registry
    run, plan = load_plan(context, training_id)
    detail: dict[str, Any] = {"training_id": training_id, **run_of(run)}
    if run.info.status == "FINISHED":
        detail["version"] = registry.version_of(training_id)
        return StepReport("register", as_of, changed=False, detail=detail)
    if "judged" not in run.data.tags:
        raise ContractViolation(
            f"training {training_id} was not judged; nothing was registered",
            remedy="run judge for it, then register again",
        )
    verdicts = {name: value for name, value in run.data.tags.items() if name.startswith(VERDICTS)}
    card = registry.tracking.read_text(run.info.run_id, CARD_FILE)
    version = registry.register(training_id, verdicts, card)
    champion, retired = _take_place(context, plan, version)
    registry.tracking.log(run.info.run_id, tags={"model_version": version})
    registry.tracking.finish(run.info.run_id)
    book = book_of(context, version)
    detail |= {"version": version, "book": book and book.name}
    detail |= {"champion": champion, "retired_books": retired}
    return StepReport("register", as_of, changed=True, detail=detail)


def _take_place(context: Context, plan: TrainingPlan, version: str) -> tuple[str, list[str]]:
    """Give the version its place, promote it if it is the first; return the champion and who left."""
    ledger, reason = context.ledger, f"registered by training {plan.training_id}"
    superseded = _supersede(context, plan, version, reason) if ledger.promotions() else []
    retired = admit(context, version, plan.as_of, reason)
    if not ledger.promotions():
        ledger.promote(
            version,
            effective_from=_from(context, plan),
            kind="first",
            reason="first model: there was no champion before it",
            decided_by=DECIDER,
        )
    mirror_roles(context)
    return ledger.promotions()[-1].version, [book.name for book in (*superseded, *retired)]


def _supersede(context: Context, plan: TrainingPlan, version: str, reason: str) -> list[Book]:
    """Retire the models that cannot be scored any more; the new one succeeds a champion among them.

    Their feature set is no longer built, or they were deleted. One of them would stop the hourly chain;
    a champion without a book would be one for ever.
    """
    current = feature_set_of(context)
    if plan.feature_set != current:
        return []
    live = [b for b in context.ledger.books() if b.model_version and b.retired_at is None]
    why = {book.name: _why_gone(context, str(book.model_version), current) for book in live}
    gone = [book for book in live if why[book.name]]
    champion = context.ledger.promotions()[-1]
    if champion.version not in {book.model_version for book in live if book not in gone}:
        open_book(context, version, opening_of(context, plan.as_of), reason)
        context.ledger.promote(
            version,
            effective_from=_from(context, plan),
            kind="succession",
            succeeding=champion.version,
            reason=_why_gone(context, champion.version, current)
            or f"the book of version {champion.version} is retired",
            decided_by=DECIDER,
        )
    for book in gone:
        retire(context, book, plan.as_of, str(why[book.name]))
    return gone


def _from(context: Context, plan: TrainingPlan) -> datetime:
    """Return the first hour that a new champion may serve: its book trades it, and no other has."""
    opening = opening_of(context, plan.as_of)
    return next_hour(context, opening + timeframe_delta(context.settings.timeframe))


def _why_gone(context: Context, version: str, current: str) -> str | None:
    """Return why a version cannot be scored any more; None where it can."""
    try:
        info = context.registry.version_info(version)
    except ContractViolation as deleted:
        return deleted.message
    if info.feature_set == current:
        return None
    return f"the feature set of version {version} is no longer built"
