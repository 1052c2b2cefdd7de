"""The history of who was champion, and what was decided, for a person or a program."""

from datetime import datetime
from typing import Any

from pipelines.clock import FAR_FUTURE, format_instant
from pipelines.context import Context
from pipelines.ledger import Promotion
from pipelines.ledger.books import champion_of
from pipelines.tables import DECISIONS


def list_promotions(context: Context, at: datetime | None = None) -> list[dict[str, Any]]:
    """Return all promotions, oldest first; with `at` only the one in effect then, if there is one."""
    history = context.ledger.promotions()
    if at is not None:
        reign = champion_of(history, at)
        history = [reign] if reign else []
    return [_row(promotion) for promotion in history]


def _row(promotion: Promotion) -> dict[str, Any]:
    keys = ("version", "previous", "kind", "reason", "decided_by", "evidence")
    told = {key: getattr(promotion, key) for key in keys}
    return {"effective_from": format_instant(promotion.effective_from), **told}


def list_decisions(context: Context, most: int, at: datetime | None = None) -> list[dict[str, Any]]:
    """Return the newest decisions about the champion up to `at`, newest first: also what was not done."""
    frame = context.lake.read(DECISIONS.name, end=at or FAR_FUTURE)
    newest = frame.sort("known_at", descending=True, maintain_order=True).head(most)
    return [
        {
            **row,
            "known_at": format_instant(row["known_at"]),
            "effective_from": row["effective_from"] and format_instant(row["effective_from"]),
        }
        for row in newest.iter_rows(named=True)
    ]
