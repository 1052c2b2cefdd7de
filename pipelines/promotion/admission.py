"""Which models have a book of their own: evidence takes months, so a challenger is given them.

A model that finds no place is a shadow: it is scored, and compared by its losses, but trades nothing.
"""

from datetime import datetime, timedelta

import polars as pl

from evaluation.promotion.places import Incumbent, makes_room
from pipelines.context import Context
from pipelines.ledger import Book, Promotion
from pipelines.ledger.shadows import Shadow
from pipelines.promotion.roles import book_of
from pipelines.tables import COMPARISONS

DECIDER = "register"
_LOOKED_BACK = timedelta(days=7)


def open_book(
    context: Context, version: str, opened_at: datetime, reason: str, decided_by: str = DECIDER
) -> Book:
    """Open the book of a version, or return it if it stands."""
    return context.ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=opened_at,
        initial_cash=context.settings.books.initial_cash,
        reason=reason,
        decided_by=decided_by,
    )


def opening_of(context: Context, as_of: datetime) -> datetime:
    """Return after which instant a model trained for `as_of` begins: never in hours that were traded.

    A record made afterwards, of hours its maker had seen, would be no evidence; and a challenger that
    arrived before others would take their place in the sharing of the level.
    """
    traded = context.ledger.last_traded_at()
    arrived = [book.opened_at for book in context.ledger.books() if book.model_version]
    arrived += [shadow.opened_at for shadow in context.ledger.shadows()]
    return max([as_of, *arrived, *([traded] if traded else [])])


def admit(context: Context, version: str, as_of: datetime, reason: str) -> list[Book]:
    """Give a new version a book, or make it a shadow; return the books that were retired for it.

    A place is free where fewer than `books.max_challengers` challengers have a book. Else one is made
    by a challenger that has shown to be worse, or has had `books.challenger_days`: the one of least
    evidence, of equals the oldest.
    """
    ledger, books = context.ledger, context.settings.books
    if book_of(context, version) is not None:
        return []
    opening = opening_of(context, as_of)
    if not ledger.promotions():
        open_book(context, version, opening, reason)
        return []
    rivals, retired = challengers(context), []
    if len(rivals) >= books.max_challengers:
        weakest = _weakest(context, rivals, as_of) if books.max_challengers else None
        if weakest is None:
            _shadow(context, version, opening, reason)
            return []
        retire(context, weakest, as_of, f"made room for version {version}: {_why(context)}")
        retired.append(weakest)
    open_book(context, version, opening, reason)
    return retired


def challengers(context: Context) -> list[Book]:
    """Return the books of models that are neither champion nor the one before, oldest first."""
    newest = context.ledger.promotions()[-1]
    return [
        book
        for book in context.ledger.books()
        if book.model_version not in (None, newest.version, newest.previous)
        and book.retired_at is None
    ]


def retire(context: Context, book: Book, as_of: datetime, reason: str) -> None:
    """Let the newest hour that was traded be a book's last, or `as_of` or its opening if that is later."""
    traded = context.ledger.last_traded_at()
    last = max(as_of, book.opened_at, traded or as_of)
    context.ledger.retire_book(book.name, at=last, reason=reason, decided_by=DECIDER)


def _weakest(context: Context, rivals: list[Book], as_of: datetime) -> Book | None:
    reign = context.ledger.promotions()[-1]
    looks = _newest_looks(context, reign, as_of)
    incumbents = [
        Incumbent(str(b.model_version), b.opened_at, *looks.get(str(b.model_version), ()))
        for b in rivals
    ]
    tenure = timedelta(days=context.settings.books.challenger_days)
    leaves = makes_room(incumbents, as_of, tenure)
    return next((book for book in rivals if book.model_version == leaves), None)


def _newest_looks(
    context: Context, reign: Promotion, as_of: datetime
) -> dict[str, tuple[str, float | None]]:
    """Return verdict and e-value of each challenger at the newest look of the last week."""
    rows = context.lake.read(COMPARISONS.name, start=as_of - _LOOKED_BACK, end=as_of)
    rows = rows.filter(pl.col("champion") == reign.version, pl.col("measure") == "net_return")
    newest = rows.sort("known_at").group_by("challenger", maintain_order=True).last()
    told = newest.select("challenger", "verdict", "e_value")
    return {version: (verdict, e_value) for version, verdict, e_value in told.iter_rows()}


def _why(context: Context) -> str:
    days = context.settings.books.challenger_days
    return (
        f"of those worse than the champion or beside it for {days:g} days it had the least evidence"
    )


def _shadow(context: Context, version: str, opening: datetime, reason: str) -> None:
    books = context.settings.books
    why = (
        f"{reason}; no place: {books.max_challengers} challengers keep their books for "
        f"{books.challenger_days:g} days"
    )
    context.ledger.add_shadow(Shadow(version, opening, why, DECIDER))
