"""What stands: the lake's tables, the champion, every book, and whether the ledger balances."""

from datetime import datetime
from typing import Any

from pipelines import clock
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError


def status(context: Context, as_of: datetime | None = None) -> dict[str, Any]:
    """Return the state of one home as plain JSON types.

    Parameters
    ----------
    context : Context
    as_of : datetime, optional
        Whose champion to name and up to which hour to report the books; by default the newest
        traded hour, else the newest bar.

    Returns
    -------
    dict
        ``{"as_of", "tables": {name: {"rows", "first", "last", "version"}}, "champion": {"version",
        "since"}, "books": [...], "ledger": {"balanced", "audit_chain"}}``; instants as ISO text, null
        where there is nothing yet. Without `as_of`, right after the first training, `since` is the
        next bar.
    """
    tables = {
        info.name: {
            "rows": info.rows,
            "first": _instant(info.first),
            "last": _instant(info.last),
            "version": info.version,
        }
        for info in context.lake.describe()
    }
    instant = as_of or context.ledger.last_traded_at()
    if instant is None and "bars" in tables and tables["bars"]["last"]:
        instant = clock.parse_instant(str(tables["bars"]["last"]))
    answer = {
        "as_of": _instant(instant),
        "tables": tables,
        **context.ledger.status(instant or clock.FAR_FUTURE),
    }
    if as_of is None and answer["champion"] is None:
        answer["champion"] = _first_champion(context)
    return answer


def _first_champion(context: Context) -> dict[str, Any] | None:
    """Return the champion that the first training made, from the next bar on."""
    promotions = context.ledger.promotions()
    if not promotions:
        return None
    first = promotions[0]
    return {"version": first.version, "since": format_instant(first.effective_from)}


def list_tables(context: Context) -> list[dict[str, Any]]:
    """Return one row a lake table: rows, span, versions, size in bytes."""
    return [
        {
            "table": info.name,
            "rows": info.rows,
            "first": _instant(info.first),
            "last": _instant(info.last),
            "version": info.version,
            "versions": info.versions,
            "bytes": info.bytes,
        }
        for info in context.lake.describe()
    ]


def read_table(
    context: Context,
    name: str,
    *,
    version: int | None,
    at_time: datetime | None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return the newest `limit` rows of a lake table as it stands, or stood, oldest first."""
    known = [info.name for info in context.lake.describe()]
    if name not in known:
        remedy = f"known: {', '.join(known)}" if known else "run `hourglass backfill` first"
        raise ConfigError(f"table {name!r} is not in the lake", remedy=remedy)
    if version is not None and at_time is not None:
        raise ConfigError("--at-version and --at-time exclude each other", remedy="give one")
    frame = context.lake.read(
        name, start=start, end=end or clock.FAR_FUTURE, version=version, at_time=at_time
    )
    if "known_at" in frame.columns:
        frame = frame.sort("known_at", maintain_order=True)
    return [
        {
            key: _instant(value) if isinstance(value, datetime) else value
            for key, value in row.items()
        }
        for row in frame.tail(limit).iter_rows(named=True)
    ]


def _instant(value: datetime | None) -> str | None:
    return None if value is None else format_instant(value)
