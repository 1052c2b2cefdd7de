"""One version of a Delta table, read: which files, which rows, in which months.

Data files never change once written, so the rows of a month are cached by the set of files they
came from: a new commit costs one small file to read, not the month again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import polars as pl

from pipelines.clock import microseconds
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.lake.order import by_key
from pipelines.tables import Table, contract

_CACHED_MONTHS = 6
_CACHED_BYTES = 256 * 2**20

STORE_REMEDY = "check the disk's space and permissions, or the object store, and run again"
# How the file system, the object store and the network say in a message that they failed.
_STORE_SIGNS = (
    "No space left",
    "os error",
    "Os {",
    "Permission denied",
    "Read-only file system",
    "ObjectStore",
    "Object store",
    "Generic S3",
    "Generic LocalFileSystem",
    "error sending request",
)


def is_store_failure(message: str) -> bool:
    """Say whether a message tells of the disk, the object store or the network, not of the data."""
    return any(sign in message for sign in _STORE_SIGNS)


@dataclass
class Snapshot:
    """One version of one table: which data files it is made of.

    Parameters
    ----------
    files : polars.DataFrame
        path, size, rows, month, first, last; one row a data file.
    schema : dict
        Column names to dtypes, without the partition column.
    months : MonthCache or None
        Rows already read; None for a version of the past.
    """

    name: str
    uri: str
    options: dict[str, str]
    version: int
    files: pl.DataFrame
    schema: dict[str, pl.DataType]
    metadata: dict[str, str]
    months: "MonthCache | None"

    @cached_property
    def paths(self) -> dict[str, list[str]]:
        """The data files of every month, in order; "" for a table that is not partitioned."""
        grouped: dict[str, list[str]] = {}
        for month, path in self.files.select("month", "path").iter_rows():
            grouped.setdefault(month, []).append(path)
        return dict(sorted(grouped.items()))

    @property
    def row_count(self) -> int:
        """Rows in the table."""
        return int(self.files["rows"].sum())

    def rows(
        self,
        start: datetime | None,
        end: datetime,
        symbols: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Return the rows with `start < known_at <= end`, sorted by key; see `Lake.read`."""
        within = known_within(start, end)
        asked = None if symbols is None else pl.col("symbol").is_in(list(symbols))
        first, last = "" if start is None else month_of(start), month_of(end)
        held = {
            month: paths
            for month, paths in self.paths.items()
            if not month or first <= month <= last
        }
        key = list(contract(self.name).key)
        # Years of a few columns are read at a time: nothing else is decoded or copied.
        names = None if columns is None else list(dict.fromkeys([*key, *self._held(columns)]))
        if self.months is not None and len(held) <= _CACHED_MONTHS:
            months = [self.months.rows(self, month, paths) for month, paths in held.items()]
            if names is not None:
                months = [frame.select(names) for frame in months]
            chosen = within if asked is None else within & asked
            rows = pl.concat([frame.filter(chosen) for frame in months]) if months else self._none()
            return by_key(rows, key)
        paths = [path for of_month in held.values() for path in of_month]
        # Nearly all rows of these months are within: a filter while reading would cost more.
        return by_key(self.scan(paths, asked, names).filter(within), key)

    def of_months(self, months: Sequence[str]) -> pl.DataFrame:
        """Return all rows of `months`, in no order."""
        held = [(month, self.paths[month]) for month in months if month in self.paths]
        if self.months is None or len(held) > _CACHED_MONTHS:
            return self.scan([path for _, paths in held for path in paths])
        found = [self.months.rows(self, month, paths) for month, paths in held]
        return pl.concat(found) if found else self._none()

    def files_with(self, instants: pl.Series) -> pl.DataFrame:
        """Return the data files that may hold a row known at one of `instants`."""
        sought, files = instants.unique().sort(), self.files
        # Bounds that others wrote are cut to the millisecond, or not there.
        until = files["last"].dt.offset_by("1ms")
        begins, ends = sought.search_sorted(files["first"]), sought.search_sorted(until, "right")
        return files.filter((begins < ends) | files["first"].is_null())

    def of_files(self, paths: Sequence[str]) -> pl.DataFrame:
        """Return all rows of data files, in no order."""
        months = [month for month, held in self.paths.items() if not set(held).isdisjoint(paths)]
        if sum(len(self.paths[month]) for month in months) == len(paths):
            return self.of_months(months)
        return self.scan(paths)

    def scan(
        self, paths: Sequence[str], chosen: pl.Expr | None = None, names: list[str] | None = None
    ) -> pl.DataFrame:
        """Read data files; columns younger than a file read null."""
        if not paths:
            return self._none()
        try:
            lazy = pl.scan_parquet(
                [f"{self.uri}/{path}" for path in paths],
                schema=self.schema,
                missing_columns="insert",
                extra_columns="ignore",
                hive_partitioning=False,
                glob=False,
                storage_options=self.options or None,
            )
            lazy = lazy if chosen is None else lazy.filter(chosen)
            return (lazy if names is None else lazy.select(names)).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._unreadable(error) from error

    def describe(self) -> dict[str, Any]:
        """Return rows, first, last, version and bytes."""
        return {
            "rows": self.row_count,
            "first": self.files["first"].min(),
            "last": self.files["last"].max(),
            "version": self.version,
            "bytes": int(self.files["size"].sum()),
        }

    def _none(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)

    def _held(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if name in self.schema]

    def _unreadable(self, error: Exception) -> Exception:
        if self.months is None:
            return ConfigError(
                f"{self.name}: the files of version {self.version} are gone or damaged: {error}",
                remedy="choose a version within lake.retention_days",
            )
        if is_store_failure(str(error)) and not isinstance(error, FileNotFoundError):
            return SourceUnavailable(f"{self.name} cannot be read: {error}", remedy=STORE_REMEDY)
        return ContractViolation(
            f"{self.name}: a data file of version {self.version} is missing or damaged: {error}",
            remedy="restore the folder from a copy, or delete the table and backfill it",
        )


class MonthCache:
    """The rows of recently read months, by the data files they came from."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[frozenset[str], pl.DataFrame]] = OrderedDict()

    def rows(self, snapshot: Snapshot, month: str, paths: Sequence[str]) -> pl.DataFrame:
        """Return the rows of `month` as `snapshot` has them; only new files are read."""
        held, frame = self._held.pop(month, (frozenset[str](), None))
        wanted = frozenset(paths)
        if frame is None or not held <= wanted or list(frame.columns) != list(snapshot.schema):
            frame = snapshot.scan(sorted(wanted)).rechunk()
        elif held < wanted:
            frame = pl.concat([frame, snapshot.scan(sorted(wanted - held))], rechunk=True)
        self._held[month] = (wanted, frame)
        while len(self._held) > 1 and self._bytes() > _CACHED_BYTES:
            self._held.popitem(last=False)
        return frame

    def _bytes(self) -> int:
        return sum(int(frame.estimated_size()) for _, frame in self._held.values())


def known_within(start: datetime | None, end: datetime) -> pl.Expr:
    """Return the condition `start < known_at <= end`.

    Polars makes a literal of a datetime by a query of its own; of an integer it does not.
    """
    within = pl.col("known_at") <= _literal(end)
    return within if start is None else within & (pl.col("known_at") > _literal(start))


def _literal(instant: datetime) -> pl.Expr:
    return pl.lit(microseconds(instant)).cast(pl.Datetime("us", "UTC"))


def month_of(instant: datetime) -> str:
    """Return the partition of an instant: "2024-06"."""
    return instant.astimezone(UTC).strftime("%Y-%m")


def month_expression(table: Table) -> pl.Expr:
    """Return the partition of every row; "" in a table that is not partitioned."""
    return pl.col("known_at").dt.strftime("%Y-%m" if table.partitioned else "")
