"""Write what a person decides about books; see `controls` for what it means."""

import difflib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.errors import ConfigError
from pipelines.ledger.books import Standing, add_event, read_standings
from pipelines.ledger.controls import ACTIONS, CONTROL, decide, is_halted


def overrule(
    connection: sa.Connection,
    action: str,
    names: Sequence[str] | None,
    step: timedelta,
    reason: str,
    decided_by: str,
) -> list[dict[str, Any]]:
    """Write the controls that `action` asks for; see `Ledger.control`. The caller holds the lock."""
    answers = []
    for standing in _chosen(read_standings(connection), names, step):
        hour = standing.walked_to + step
        detail = decide(action, standing.controls, hour, halted=is_halted(standing.state))
        if detail is not None:
            add_event(connection, standing.book, hour, CONTROL, detail, reason, decided_by)
        answers.append(
            {
                "book": standing.book.name,
                "mode": ACTIONS[action],
                "effective_from": _since(standing) if detail is None else hour,
                "changed": detail is not None,
            }
        )
    return answers


def _since(standing: Standing) -> datetime:
    """Return from when on the book has been in its mode."""
    return standing.controls[-1].effective_from if standing.controls else standing.book.opened_at


def _chosen(
    standings: Sequence[Standing], names: Sequence[str] | None, step: timedelta
) -> list[Standing]:
    """Return the books that are named, or all that will trade another hour; refuse the others."""
    live = {s.book.name: s for s in standings if s.book.is_live(s.walked_to + step)}
    if names is None:
        return list(live.values())
    for name in names:
        if name not in live:
            known = any(s.book.name == name for s in standings)
            found = "is retired: it trades no more" if known else "does not exist"
            near = difflib.get_close_matches(name, live, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`hourglass status` lists the books"
            raise ConfigError(f"book {name!r} {found}; nothing was written", remedy=hint)
    return [live[name] for name in dict.fromkeys(names)]
