"""Pause, resume or liquidate one book, or all of them."""

from datetime import datetime

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError
from pipelines.ledger.controls import ACTIONS

ALL = "all"


def control_book(
    context: Context, as_of: datetime, action: str, book: str, reason: str, decided_by: str
) -> StepReport:
    """Overrule a book, or with ``all`` every book that trades (the kill switch), from its next hour on.

    A paused book opens nothing and keeps its exits, a liquidating one closes what it holds and opens
    nothing, a resumed one trades again, and forgets its peak if the engine itself had halted it. A
    book opened later is not covered by ``all``.

    Reads: the ledger. Writes: book_events and audit, one row a book that is not like that already.
    Re-run: finds every book as asked and writes nothing.

    Parameters
    ----------
    context : Context
    as_of : datetime
        When it was asked for. A control holds from the hour after the newest one its book has
        traded, whatever the time: what was traded is never touched.
    action : {"pause", "resume", "liquidate"}
    book : str
        A book's name, or ``all``.
    reason, decided_by : str
        Why, and who says so; both are kept in the audit chain.

    Raises
    ------
    ConfigError
        If the action, the book or the reason is wrong: nothing was written.
    """
    check_as_of(as_of, context.settings.timeframe)
    if action not in ACTIONS:
        raise ConfigError(f"action {action!r} is not known", remedy=f"one of {', '.join(ACTIONS)}")
    if not reason.strip() or not decided_by.strip():
        raise ConfigError(
            f"{action} of {book} has no reason or nobody who decided it",
            remedy="say why with --reason: it is kept for who reads the ledger later",
        )
    answers = context.ledger.control(
        action,
        None if book == ALL else (book,),
        step=timeframe_delta(context.settings.timeframe),
        reason=reason.strip(),
        decided_by=decided_by.strip(),
    )
    books = [{**a, "effective_from": format_instant(a["effective_from"])} for a in answers]
    detail = {"action": action, "reason": reason.strip(), "decided_by": decided_by, "books": books}
    return StepReport("control_book", as_of, any(a["changed"] for a in answers), detail)
