"""The roles of models: when a new champion may begin, who can serve, and the mirror of all that in MLflow."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.clock import FAR_FUTURE, format_instant, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.ledger import Book, Promotion
from pipelines.ledger.shadows import shadows_at
from pipelines.tracking.plan import feature_set_of


def next_hour(context: Context, not_before: datetime) -> datetime:
    """Return the first hour from `not_before` on that no book has traded and no promotion has taken."""
    step = timeframe_delta(context.settings.timeframe)
    taken = [promotion.effective_from for promotion in context.ledger.promotions()]
    traded = context.ledger.last_traded_at()
    return max([not_before, *(hour + step for hour in (*taken, traded) if hour is not None)])


def why_it_cannot_serve(context: Context, version: str, hour: datetime) -> str | None:
    """Return why a version cannot be champion from `hour` on; None where it can.

    It needs files that are the registered ones, the features at hand, a training that ended before, and
    no retired book: that is never opened again.
    """
    book = book_of(context, version)
    if book is not None and book.retired_at is not None:
        return f"version {version} has a retired book: it trades no bars"
    try:
        info = context.registry.version_info(version)
        context.registry.load(version)
        at_hand = feature_set_of(context)
    except ContractViolation as refusal:
        return str(refusal)
    if info.feature_set != at_hand:
        return (
            f"version {version} was trained on feature set {info.feature_set}, built is {at_hand}"
        )
    if info.train_end >= hour:
        return (
            f"version {version} was trained up to {format_instant(info.train_end)} and cannot "
            f"serve {format_instant(hour)}"
        )
    return None


def book_of(context: Context, version: str) -> Book | None:
    """Return the book of a model version, retired or not; None if it never had one."""
    found = (book for book in context.ledger.books() if book.model_version == version)
    return next(found, None)


def astray(context: Context) -> list[str]:
    """Return which of the aliases `challenger` and `previous` do not say what the ledger says."""
    newest, books = context.ledger.promotions()[-1], context.ledger.books()
    return context.registry.astray(
        challengers=_challengers(newest, books), previous=newest.previous
    )


def mirror_roles(context: Context, *, restore: bool = False) -> bool:
    """Make aliases and role tags in MLflow say what the ledger says; False if they do already.

    An alias `champion` that a person has moved is left to `watch_champion`, unless `restore`.
    """
    newest, books = context.ledger.promotions()[-1], context.ledger.books()
    most = context.settings.books.max_shadows
    shadows = shadows_at(context.ledger.shadows(), books, FAR_FUTURE, most)
    return context.registry.mirror(
        champion=newest.version,
        challengers=_challengers(newest, books),
        previous=newest.previous,
        shadows=[shadow.version for shadow in shadows],
        restore=restore,
    )


def _challengers(newest: Promotion, books: Sequence[Book]) -> list[str]:
    return [
        book.model_version
        for book in books
        if book.model_version not in (None, newest.version) and book.retired_at is None
    ]
