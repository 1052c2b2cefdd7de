"""Make a judged model a version with a book of its own."""

from datetime import datetime
from typing import Any

from pipelines.clock import timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.ledger import Book
from pipelines.promotion.roles import mirror_roles
from pipelines.tracking.card import CARD_FILE
from pipelines.tracking.plan import TrainingPlan, feature_set_of, load_plan, run_of

_DECIDER = "register"
VERDICTS = ("gate.", "gates.failed", "unfit")
"""Beginnings of the tags of a judged run that its version carries, too."""


def register(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Register the training's model and open its book; the first model of all becomes champion.

    The book trades from the first bar after `as_of`. Where more challengers than
    `books.max_challengers` have a book, the oldest are retired, but not the previous champion, who may
    have to serve again, and so is every model of a feature set that is no longer built. The ledger
    decides, the registry's aliases follow it.

    Reads: the judged training.
    Writes: the model version with its card and tags; the ledger (book, promotion, retirements); the
    aliases; closes the parent run.
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
    version = registry.register(training_id, verdicts)
    card = registry.tracking.read_text(run.info.run_id, CARD_FILE)
    registry.describe(version, card, verdicts)
    champion, retired = _open_book(context, plan, version)
    registry.tracking.log(run.info.run_id, tags={"model_version": version})
    registry.tracking.finish(run.info.run_id)
    detail |= {"version": version, "champion": champion, "retired_books": retired}
    return StepReport("register", as_of, changed=True, detail=detail)


def _open_book(context: Context, plan: TrainingPlan, version: str) -> tuple[str, list[str]]:
    """Open the version's book, promote it if it is the first, retire what is too many."""
    ledger = context.ledger
    ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=plan.as_of,
        initial_cash=context.settings.books.initial_cash,
        reason=f"registered by training {plan.training_id}",
        decided_by=_DECIDER,
    )
    first_bar = plan.as_of + timeframe_delta(context.settings.timeframe)
    if not ledger.promotions():
        ledger.promote(
            version,
            effective_from=first_bar,
            kind="first",
            reason="first model: there was no champion before it",
            decided_by=_DECIDER,
        )
    superseded = _supersede(context, plan, version)
    newest = ledger.promotions()[-1]
    living = [b for b in ledger.books() if b.model_version and b.retired_at is None]
    challengers = sorted(
        (b for b in living if b.model_version not in (newest.version, newest.previous)),
        key=lambda b: (b.opened_at, int(b.model_version or 0)),
    )
    keep = context.settings.books.max_challengers
    surplus = challengers[: max(len(challengers) - keep, 0)]
    for book in surplus:
        _retire(context, book, plan, f"more than {keep} challengers; this was the oldest")
    mirror_roles(context)
    return newest.version, [book.name for book in (*superseded, *surplus)]


def _supersede(context: Context, plan: TrainingPlan, version: str) -> list[Book]:
    """Retire the models whose feature set the lake no longer holds; the new one succeeds a champion.

    Nothing can be scored with such a model, and one that cannot be scored stops the hourly chain.
    """
    current = feature_set_of(context)
    if plan.feature_set != current:
        return []
    info = context.registry.version_info
    gone = [
        book
        for book in context.ledger.books()
        if book.model_version
        and book.retired_at is None
        and info(book.model_version).feature_set != current
    ]
    champion = context.ledger.promotions()[-1]
    if champion.version in {book.model_version for book in gone}:
        step = timeframe_delta(context.settings.timeframe)
        traded = context.ledger.last_traded_at() or plan.as_of
        context.ledger.promote(
            version,
            effective_from=max(plan.as_of, traded, champion.effective_from) + step,
            kind="succession",
            succeeding=champion.version,
            reason=f"the feature set of version {champion.version} is no longer built",
            decided_by=_DECIDER,
        )
    for book in gone:
        _retire(context, book, plan, "its feature set is no longer built")
    return gone


def _retire(context: Context, book: Book, plan: TrainingPlan, reason: str) -> None:
    traded = context.ledger.last_traded_at()
    context.ledger.retire_book(
        book.name,
        at=max(plan.as_of, traded or plan.as_of),
        reason=reason,
        decided_by=_DECIDER,
    )
