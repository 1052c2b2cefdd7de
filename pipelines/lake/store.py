"""The lake: Delta tables of Parquet, validated on write, replaced by window, with time travel.

Readers give an `end` and never see a row known after it. Writers make a window equal to a frame in
one atomic commit: an absent window is appended, a window that already stands is left alone (no
commit), and only a real difference rewrites: whole months, with the rows in them that stay. Every
commit carries a transaction number, so of two writers at once one loses cleanly and looks again.

Schema evolution. A column the table does not know yet is merged in: older rows read null. A column
a frame no longer has counts as null in the rows it replaces, and leaves the schema when a frame
replaces the whole table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import polars as pl

from pipelines.clock import TIMEFRAMES, format_instant
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.lake.delta import DeltaLog, LostRace, list_tables
from pipelines.lake.snapshot import Snapshot, known_within, month_expression
from pipelines.lake.validation import conform, in_order, require_contract
from pipelines.tables import LAKE_TABLES, Table, contract

_RACES = 8


@dataclass(frozen=True)
class TableInfo:
    """What stands in one table.

    Parameters
    ----------
    rows : int
    first, last : datetime or None
        Earliest and latest `known_at` (UTC, to the millisecond); None while there is no row.
    version : int
        Number of the newest commit.
    versions : int
        Commits that can still be read by `version=`.
    bytes : int
        Size of the data files of the newest version.
    """

    name: str
    rows: int
    first: datetime | None
    last: datetime | None
    version: int
    versions: int
    bytes: int


@dataclass(frozen=True)
class MonthFiles:
    """The rows of a month and the data files they are in."""

    rows: int
    files: frozenset[str]


class Lake:
    """Tables under one address: a local folder or an object store (`s3://`).

    Parameters
    ----------
    uri : str
        Folder or object-store address; tables are its children.
    storage_options : mapping, optional
        Options of the object store, as deltalake takes them (`AWS_ENDPOINT_URL`, ...).
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._logs: dict[str, DeltaLog] = {}

    def read(
        self,
        table: str,
        *,
        end: datetime,
        start: datetime | None = None,
        symbols: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        at_time: datetime | None = None,
    ) -> pl.DataFrame:
        """Read the rows with `start < known_at <= end`, sorted by key.

        Parameters
        ----------
        end, start : datetime
            Window of `known_at`; without `start`, from the first row.
        symbols, columns : sequence of str, optional
            Rows of these symbols only; these columns only, in this order.
        version, at_time : int or datetime, optional
            Read the table as of a commit number, or as it stood at an instant of the wall clock.

        Returns
        -------
        polars.DataFrame
            In the table's contract; an absent table reads as empty. Years of a wide table come in
            many chunks a column.

        Raises
        ------
        ConfigError
            If the table, a column or the version does not exist.
        ContractViolation
            If a data file is missing or damaged.
        SourceUnavailable
            If the store does not answer.
        """
        log = self._log(table)
        snapshot = log.snapshot(version=version, at_time=at_time)
        if snapshot is None:
            frame = _absent(table, columns)
        else:
            frame = snapshot.rows(start, end, symbols, _known(table, columns, snapshot.schema))
        return frame if columns is None else frame.select(columns)

    def replace(
        self,
        table: Table,
        frame: pl.DataFrame,
        *,
        start: datetime,
        end: datetime,
        where: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Make the rows with `start < known_at <= end` (and column in values of `where`) equal `frame`.

        Returns
        -------
        bool
            False if they already are, audit columns aside: then nothing is written.

        Raises
        ------
        ContractViolation
            If the frame breaks its contract or reaches outside the window: nothing is written.
        SourceUnavailable
            If the store cannot be written (also a full disk: no data is wrong, and the same call
            succeeds once there is room) or other writers keep winning. The previous version
            stands.
        """
        frame = conform(table, frame)
        require_contract(table, frame)
        selection = _selection(start, end, where)
        _require_within(table, frame, selection, start, end)
        log = self._log(table.name)
        for _ in range(_RACES):
            try:
                return _write_difference(log, table, frame, start=start, end=end, where=where)
            except LostRace:
                continue
        raise SourceUnavailable(
            f"{table.name}: {_RACES} attempts to commit lost against another writer",
            remedy="run the step again; only one run of a step should write at a time",
        )

    def exists(self, table: str) -> bool:
        """Say whether the table has ever been written."""
        return self._log(table).snapshot() is not None

    def version(self, table: str) -> int | None:
        """Return the number of the newest commit, None for an absent table."""
        snapshot = self._log(table).snapshot()
        return None if snapshot is None else snapshot.version

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns the table has; empty for an absent table."""
        snapshot = self._log(table).snapshot()
        return [] if snapshot is None else list(snapshot.schema)

    def metadata(self, table: str) -> dict[str, str]:
        """Return what `set_metadata` wrote; empty for an absent table."""
        snapshot = self._log(table).snapshot()
        return {} if snapshot is None else snapshot.metadata

    def set_metadata(self, table: str, values: Mapping[str, str]) -> bool:
        """Write facts about a whole table, such as the hash of its feature set.

        Returns
        -------
        bool
            False if they already stand: then nothing is written.

        Raises
        ------
        ConfigError
            If the table does not exist yet.
        """
        log = self._log(table)
        for _ in range(_RACES):
            snapshot = log.snapshot()
            if snapshot is None:
                raise ConfigError(f"table {table} does not exist", remedy="write rows first")
            if all(snapshot.metadata.get(key) == value for key, value in values.items()):
                return False
            try:
                log.set_metadata(values)
                return True
            except LostRace:
                continue
        raise SourceUnavailable(
            f"{table}: metadata lost against another writer", remedy="run again"
        )

    def months(self, table: str) -> dict[str, MonthFiles]:
        """Return what every calendar month ("2024-06") is made of, from the log alone.

        Data files never change once written: equal files are equal rows. A table that is not
        partitioned counts as the one month "".
        """
        snapshot = self._log(table).snapshot()
        if snapshot is None:
            return {}
        grouped = snapshot.files.group_by("month").agg(pl.col("rows").sum(), "path").sort("month")
        return {name: MonthFiles(rows, frozenset(paths)) for name, rows, paths in grouped.rows()}

    def describe(self) -> list[TableInfo]:
        """Describe every table that exists, by name."""
        return [
            TableInfo(name=name, versions=self._log(name).versions(), **snapshot.describe())
            for name in self._names()
            if (snapshot := self._log(name).snapshot()) is not None
        ]

    def maintain(self, retention_days: float) -> dict[str, dict[str, int]]:
        """Compact small files and delete those that no version of the last `retention_days` needs.

        Running it again when nothing was written since changes nothing.

        Returns
        -------
        dict
            Table to counts: files_before, files_after, files_deleted.
        """
        return {
            name: self._log(name).maintain(retention_days)
            for name in self._names()
            if self._log(name).snapshot() is not None
        }

    def _names(self) -> list[str]:
        known = (*LAKE_TABLES, *(f"bars_{timeframe}" for timeframe in TIMEFRAMES))
        return list_tables(self.uri, known)

    def _log(self, table: str) -> DeltaLog:
        if table not in self._logs:
            self._logs[table] = DeltaLog(f"{self.uri}/{table}", self.storage_options, table)
        return self._logs[table]


def _contract(table: str) -> Table:
    try:
        return contract(table)
    except KeyError:
        known = ", ".join(LAKE_TABLES)
        raise ConfigError(f"table {table!r} is not known", remedy=f"use one of {known}") from None


def _absent(table: str, columns: Sequence[str] | None) -> pl.DataFrame:
    held = _contract(table)
    schema = dict(held.schema)
    if held.open_columns:
        schema |= {name: pl.Float32() for name in columns or () if name not in schema}
    _known(table, columns, schema)
    return pl.DataFrame(schema=schema)


def _known(
    table: str, columns: Sequence[str] | None, schema: Mapping[str, pl.DataType]
) -> Sequence[str] | None:
    for name in columns or ():
        if name not in schema:
            nearest = get_close_matches(name, list(schema), n=1)
            raise ConfigError(
                f"table {table} has no column {name!r}",
                remedy=f"did you mean {nearest[0]!r}?" if nearest else "see `hourglass tables`",
            )
    return columns


def _selection(
    start: datetime, end: datetime, where: Mapping[str, Sequence[str]] | None
) -> pl.Expr:
    chosen = known_within(start, end)
    for column, values in (where or {}).items():
        chosen &= pl.col(column).is_in(list(values))
    return chosen


def _require_within(
    table: Table, frame: pl.DataFrame, selection: pl.Expr, start: datetime, end: datetime
) -> None:
    outside = frame.filter(~selection)
    if not outside.is_empty():
        first = format_instant(outside["known_at"].min())  # type: ignore[arg-type]
        raise ContractViolation(
            f"{table.name}: {outside.height} rows lie outside the window that is replaced (first "
            f"{first}; window {format_instant(start)} to {format_instant(end)}); nothing was written",
            remedy="pass the window and the `where` values that the rows belong to",
        )


def _write_difference(
    log: DeltaLog,
    table: Table,
    frame: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    where: Mapping[str, Sequence[str]] | None,
) -> bool:
    snapshot = log.snapshot()
    if snapshot is None:
        if frame.is_empty():
            return False
        log.create(table, frame)
        return True
    standing = snapshot.rows(start, end, None, None)
    if where:
        standing = standing.filter(_selection(start, end, where))
    if _replaces_everything(snapshot.row_count, standing, frame):
        log.overwrite(table, frame, version=snapshot.version)
        return True
    widened = _widen(frame, standing.schema)
    facts = [name for name in widened.columns if name not in table.audit_columns]
    standing = in_order(_widen(standing, widened.schema), widened.columns)
    fresh, gone, stays = _difference(widened, standing, table.key, facts)
    if fresh.is_empty() and gone.is_empty():
        return False
    whole = stays == 0 and standing.height == snapshot.row_count
    if gone.is_empty():
        log.append(table, fresh, version=snapshot.version)
    elif whole and not fresh.is_empty():
        log.overwrite(table, fresh, version=snapshot.version)
    else:
        _rewrite(log, table, snapshot, fresh, gone)
    return True


def _rewrite(
    log: DeltaLog, table: Table, snapshot: Snapshot, fresh: pl.DataFrame, gone: pl.DataFrame
) -> None:
    """Write anew what holds a row to go, with the rows in it that stay, and the rows to come.

    That is a file where a month is not large, and the month else: it is at hand in memory, as a
    rule, and a window inside a file would have delta-rs read and sieve it.
    """
    files = snapshot.files_with(gone["known_at"])
    if log.takes_parts(fresh, int(files["rows"].sum()) + fresh.height):
        rows = _exchanged(snapshot.of_files(files["path"].to_list()), fresh, gone, table.key)
        log.exchange(table, rows, files=files, version=snapshot.version)
        return
    touched = pl.concat([fresh.select("known_at"), gone.select("known_at")])
    months = touched.select(month_expression(table).unique().sort()).to_series().to_list()
    rows = _exchanged(snapshot.of_months(months), fresh, gone, table.key)
    if table.partitioned:
        log.rewrite(table, rows, months=months, version=snapshot.version)
    else:
        log.overwrite(table, rows, version=snapshot.version)


def _exchanged(
    standing: pl.DataFrame, fresh: pl.DataFrame, gone: pl.DataFrame, key: Sequence[str]
) -> pl.DataFrame:
    widened = in_order(_widen(standing, fresh.schema), fresh.columns)
    stays = widened.join(gone.select(key), on=list(key), how="anti")
    return pl.concat([stays, fresh]).sort(key)


def _difference(
    frame: pl.DataFrame, standing: pl.DataFrame, key: Sequence[str], facts: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return the rows to come, those to go, and how many stand and stay.

    Rows are paired by their key, and of the pairs only the columns that differ are looked into: a
    table of hundreds of columns is not hashed.
    """
    pairs = list(key)
    new, lost, came, met = frame.clear(), standing.clear(), frame, standing
    if not frame.select(pairs).equals(standing.select(pairs)):
        new, lost = (
            frame.join(standing, on=pairs, how="anti"),
            standing.join(frame, on=pairs, how="anti"),
        )
        came = frame.join(standing, on=pairs, how="semi").sort(pairs)
        met = standing.join(frame, on=pairs, how="semi").sort(pairs)
    if came.height != met.height:
        # What stands repeats a key: all of it goes.
        return frame, standing, 0
    changed = pl.zeros(came.height, pl.Boolean, eager=True)
    for name in () if in_order(came, facts).equals(in_order(met, facts)) else facts:
        if not came[name].equals(met[name]):
            changed |= came[name].ne_missing(met[name])
    if changed.all():
        return frame, standing, 0
    fresh = pl.concat([new, came.filter(changed)]).sort(pairs)
    gone = pl.concat([lost, met.filter(changed)])
    return fresh, gone, standing.height - gone.height


def _widen(frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    held = set(frame.columns)
    missing = [pl.lit(None, dtype).alias(n) for n, dtype in schema.items() if n not in held]
    return frame.with_columns(missing) if missing else frame


def _replaces_everything(row_count: int, standing: pl.DataFrame, frame: pl.DataFrame) -> bool:
    """Say whether columns come or vanish and the window holds every row, so the schema may change."""
    differ = set(standing.columns) != set(frame.columns)
    return differ and not frame.is_empty() and standing.height == row_count
