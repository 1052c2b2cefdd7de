"""Versions that were deleted in MLflow while their books traded."""

from collections.abc import Iterator
from datetime import datetime

from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.ledger import Book, Promotion
from pipelines.promotion.decisions import Decision
from pipelines.promotion.succession import Claim, succeed

IN_MLFLOW = "a person, in MLflow"


def follow_deletions(context: Context, as_of: datetime) -> list[Decision]:
    """Retire every book whose version the registry has no more; a champion among them is succeeded.

    By the champion before it, unless that one was rolled back; else by the newest challenger that can
    serve. Where nobody can, its book is retired all the same: it cannot be scored.

    Raises
    ------
    ContractViolation
        If the registry has none of the versions that trade: then it is the wrong one, or was lost.
        Nothing is retired.
    """
    living = [book for book in context.ledger.books() if book.model_version and not book.retired_at]
    gone = [book for book in living if not context.registry.has(str(book.model_version))]
    if not gone:
        return []
    if len(gone) == len(living):
        names = ", ".join(str(book.model_version) for book in gone)
        raise ContractViolation(
            f"model {context.registry.name} has none of the versions that trade ({names}); "
            "no book was retired",
            remedy="check mlflow.tracking_uri and mlflow.registered_model, restore the registry, or train again",
        )
    newest = context.ledger.promotions()[-1]
    kept = [book for book in living if book not in gone]
    return [_depart(context, book, newest, kept, as_of) for book in gone]


def _depart(
    context: Context, book: Book, newest: Promotion, kept: list[Book], as_of: datetime
) -> Decision:
    version = str(book.model_version)
    said = f"version {version} was deleted in MLflow"
    if version == newest.version:
        decision = _succession(context, newest, kept, said, as_of)
    else:
        reason = f"{said}; its book is retired"
        decision = Decision("kept", newest.version, version, reason, IN_MLFLOW)
    traded = context.ledger.last_traded_at() or book.opened_at
    context.ledger.retire_book(
        book.name, at=max(traded, book.opened_at), reason=said, decided_by=IN_MLFLOW
    )
    return decision


def _succession(
    context: Context, newest: Promotion, kept: list[Book], said: str, as_of: datetime
) -> Decision:
    for version in _heirs(newest, kept):
        claim = Claim(
            version,
            succeeding=newest.version,
            kind="succession",
            reason=said,
            decided_by=IN_MLFLOW,
        )
        decision = succeed(context, claim, as_of)
        if decision.outcome == "promoted":
            return decision
    reason = f"{said}; its book is retired, and nobody can serve in its place"
    return Decision("kept", newest.version, newest.version, reason, IN_MLFLOW)


def _heirs(newest: Promotion, kept: list[Book]) -> Iterator[str]:
    previous = newest.previous
    if previous is not None and newest.kind != "rollback":
        yield previous
    versions = (str(book.model_version) for book in reversed(kept))
    yield from (version for version in versions if version != previous)
