"""One Delta table: its log and its commits. Only `store.py` uses this."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.lake.parts import FEW_ROWS, PARTITION, remove_parts, write_parts
from pipelines.lake.snapshot import (
    STORE_REMEDY,
    MonthCache,
    Snapshot,
    is_store_failure,
    month_expression,
)
from pipelines.tables import INSTANT, Table

_WRITER = "hourglass"
_METADATA = "hourglass."
_WIDE = 16
# Looking for expired commits costs every commit more the more there are: maintenance does it.
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_RETENTIONS = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "long": pl.Int64(),
    "integer": pl.Int32(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
    "timestamp": INSTANT,
}


class LostRace(Exception):
    """Another writer committed first: look again at what stands."""


class DeltaLog:
    """The commits of one table.

    Parameters
    ----------
    uri : str
    options : dict
        Options of the object store.
    name : str
        Name of the table's contract.
    """

    def __init__(self, uri: str, options: dict[str, str], name: str) -> None:
        self.uri = uri
        self.options = options
        self.name = name
        self._table: DeltaTable | None = None
        self._snapshot: Snapshot | None = None
        self._months = MonthCache()
        self._checkpoint = -1

    def snapshot(
        self, *, version: int | None = None, at_time: datetime | None = None
    ) -> Snapshot | None:
        """Return the newest version, or the one asked for; None if the table did not exist then.

        Raises
        ------
        ConfigError
            If there is no such version.
        """
        if version is not None or at_time is not None:
            return self._past(version, at_time)
        if not self._refresh():
            return None
        assert self._table is not None
        if self._snapshot is None or self._snapshot.version != self._table.version():
            self._snapshot = self._load(self._table, self._months)
        return self._snapshot

    def create(self, table: Table, frame: pl.DataFrame) -> None:
        """Create the table with its first rows, in one commit."""
        with _guarded(self.name):
            try:
                write_deltalake(
                    self.uri,
                    _with_month(table, frame),
                    mode="error",
                    partition_by=[PARTITION] if table.partitioned else None,
                    name=table.name,
                    description=table.doc,
                    configuration=_configuration(table),
                    storage_options=self.options or None,
                    writer_properties=_encoding(frame),
                    commit_properties=_transaction(-1),
                    post_commithook_properties=_HOOKS,
                )
            except DeltaError as error:
                if self._refresh():
                    raise LostRace from error
                raise

    def append(self, table: Table, frame: pl.DataFrame, *, version: int) -> None:
        """Add rows whose keys are not there yet.

        A few wide rows to a folder are written here and only named to delta-rs (`parts`).
        """
        if self.takes_parts(frame, frame.height):
            self._exchange(table, frame, [], version)
        else:
            schema_mode = self._merging(frame)
            self._commit(table, frame, version, mode="append", schema_mode=schema_mode)

    def takes_parts(self, frame: pl.DataFrame, rows: int) -> bool:
        """Say whether `rows` rows like those of `frame` are few and wide, and go to a folder."""
        few = rows <= FEW_ROWS and _is_wide(frame) and "://" not in self.uri
        return few and self._merging(frame) is None

    def exchange(
        self, table: Table, frame: pl.DataFrame, *, files: pl.DataFrame, version: int
    ) -> None:
        """Put the rows of `frame` in the place of all those of some data files; see `takes_parts`."""
        self._exchange(table, frame, remove_parts(files), version)

    def rewrite(
        self, table: Table, frame: pl.DataFrame, *, months: Sequence[str], version: int
    ) -> None:
        """Make the rows of whole `months` equal `frame`: their files go, and none is looked into."""
        predicate = f"{PARTITION} IN ({', '.join(repr(month) for month in months)})"
        if frame.is_empty():
            self._delete(predicate, version)
            return
        schema_mode = self._merging(frame)
        self._commit(
            table, frame, version, mode="overwrite", predicate=predicate, schema_mode=schema_mode
        )

    def overwrite(self, table: Table, frame: pl.DataFrame, *, version: int) -> None:
        """Replace every row, and the schema with them."""
        self._commit(table, frame, version, mode="overwrite", schema_mode="overwrite")

    def set_metadata(self, values: Mapping[str, str]) -> None:
        """Write table properties; `LostRace` if another writer was first."""
        assert self._table is not None
        with _guarded(self.name):
            self._table.alter.set_table_properties(
                {f"{_METADATA}{key}": value for key, value in values.items()},
                raise_if_not_exists=False,
            )

    def versions(self) -> int:
        """Count the commits that can still be read."""
        return 0 if self._table is None else len(self._table.history())

    def maintain(self, retention_days: float) -> dict[str, int]:
        """Compact, checkpoint and vacuum; see `Lake.maintain`."""
        before = self.snapshot()
        if before is None:
            return {"files_before": 0, "files_after": 0, "files_deleted": 0}
        assert self._table is not None
        table, hours = self._table, max(0, round(retention_days * 24))
        # One retention for versions and for the files they need; the checkpoint then forgets both.
        kept = dict.fromkeys(_RETENTIONS, f"interval {hours} hours")
        with _guarded(self.name):
            if not kept.items() <= table.metadata().configuration.items():
                table.alter.set_table_properties(kept)
            encoding = _encoding(pl.DataFrame(schema=before.schema))
            table.optimize.compact(writer_properties=encoding, max_concurrent_tasks=2)
            # Full: also what a writer that was killed left behind, never named in the log.
            doomed = table.vacuum(hours, enforce_retention_duration=False, full=True)
            if doomed:
                table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
            if table.version() != before.version:
                table.create_checkpoint()
                table.cleanup_metadata()
                self._table = None
        after = self.snapshot()
        assert after is not None
        return {
            "files_before": before.files.height,
            "files_after": after.files.height,
            "files_deleted": len(doomed),
        }

    def _refresh(self) -> bool:
        with _guarded(self.name):
            if self._table is not None:
                if not self._is_newest(self._table.version()):
                    self._table.update_incremental()
                self._require_log(self._table.version())
                return True
            try:
                self._table = DeltaTable(self.uri, storage_options=self.options or None)
            except (TableNotFoundError, FileNotFoundError):
                return False
        return True

    def _is_newest(self, version: int) -> bool:
        """Say whether no commit can have followed `version`; only a local folder can tell.

        The next commit's file is missing, and no checkpoint was written since (which alone lets
        maintenance remove old commits, the next one among them).
        """
        if "://" in self.uri:
            return False
        log = Path(self.uri) / "_delta_log"
        try:
            checkpoint = (log / "_last_checkpoint").stat().st_mtime_ns
        except FileNotFoundError:
            checkpoint = 0
        seen, self._checkpoint = self._checkpoint, checkpoint
        return seen == checkpoint and not (log / f"{version + 1:020}.json").exists()

    def _require_log(self, version: int) -> None:
        # delta-rs keeps answering from memory when the folder under it is gone.
        if "://" in self.uri or (Path(self.uri) / "_delta_log" / f"{version:020}.json").exists():
            return
        raise SourceUnavailable(
            f"{self.name}: version {version} has vanished from {self.uri} while it was in use",
            remedy="see whether the disk is mounted; start again if the lake was deleted on purpose",
        )

    def _past(self, version: int | None, at_time: datetime | None) -> Snapshot | None:
        newest = self.snapshot()
        if newest is None:
            return None
        if version is not None and not 0 <= version <= newest.version:
            raise ConfigError(
                f"{self.name} has no version {version}",
                remedy=f"versions 0 to {newest.version} were written; `hourglass tables` lists them",
            )
        try:
            table = DeltaTable(self.uri, version=version, storage_options=self.options or None)
            if at_time is not None:
                table.load_as_version(at_time)
                written = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
                if written > at_time:
                    return None
        except DeltaError as error:
            raise ConfigError(
                f"{self.name} cannot be read as of {version if at_time is None else at_time}: {error}",
                remedy="choose a version within lake.retention_days",
            ) from None
        return self._load(table, None)

    def _load(self, table: DeltaTable, months: MonthCache | None) -> Snapshot:
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        files = actions.select(
            path=pl.Series([unquote(path) for path in actions["path"].to_list()], dtype=pl.String),
            size=pl.col("size_bytes"),
            rows=pl.col("num_records"),
            month=pl.col(f"partition.{PARTITION}")
            if f"partition.{PARTITION}" in actions.columns
            else pl.lit(""),
            first=pl.col("min.known_at") if "min.known_at" in actions.columns else None,
            last=pl.col("max.known_at") if "max.known_at" in actions.columns else None,
        )
        fields = json.loads(table.schema().to_json())["fields"]
        configuration = table.metadata().configuration
        return Snapshot(
            name=self.name,
            uri=self.uri,
            options=self.options,
            version=table.version(),
            files=files,
            schema={f["name"]: _TYPES[f["type"]] for f in fields if f["name"] != PARTITION},
            metadata={
                key.removeprefix(_METADATA): value
                for key, value in configuration.items()
                if key.startswith(_METADATA)
            },
            months=months,
        )

    def _merging(self, frame: pl.DataFrame) -> str | None:
        assert self._snapshot is not None
        return None if set(frame.columns) <= set(self._snapshot.schema) else "merge"

    def _commit(self, table: Table, frame: pl.DataFrame, version: int, **how: Any) -> None:
        assert self._table is not None
        if self._table.version() != version:
            raise LostRace
        with _guarded(self.name):
            write_deltalake(
                self._table,
                _with_month(table, frame),
                writer_properties=_encoding(frame),
                commit_properties=_transaction(version),
                post_commithook_properties=_HOOKS,
                **{name: value for name, value in how.items() if value is not None},
            )

    def _exchange(
        self,
        table: Table,
        frame: pl.DataFrame,
        removals: list[AddAction | RemoveAction],
        version: int,
    ) -> None:
        assert self._table is not None
        if self._table.version() != version:
            raise LostRace
        with _guarded(self.name):
            self._table.create_write_transaction(
                write_parts(Path(self.uri), table, frame) + removals,
                mode="append",
                schema=self._table.schema(),
                partition_by=[PARTITION] if table.partitioned else [],
                commit_properties=_transaction(version),
                post_commithook_properties=_HOOKS,
            )

    def _delete(self, predicate: str, version: int) -> None:
        assert self._table is not None
        if self._table.version() != version:
            raise LostRace
        with _guarded(self.name):
            self._table.delete(predicate, commit_properties=_transaction(version))


def list_tables(uri: str, known: Sequence[str]) -> list[str]:
    """Return the names of the tables that may exist under `uri`, sorted.

    A folder is looked into; in an object store every known name is a candidate.
    """
    if "://" in uri:
        return sorted(known)
    folders = Path(uri).glob("*/_delta_log") if Path(uri).is_dir() else []
    return sorted(folder.parent.name for folder in folders)


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    try:
        yield
    except LostRace:
        raise
    except CommitFailedError as error:
        raise LostRace from error
    except (OSError, DeltaError) as error:
        if isinstance(error, OSError) or is_store_failure(str(error)):
            raise SourceUnavailable(
                f"{name}: the lake did not answer: {' '.join(str(error).split())}; "
                "the previous version stands",
                remedy=STORE_REMEDY,
            ) from error
        raise


def _with_month(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    if not table.partitioned:
        return frame
    return frame.with_columns(month_expression(table).alias(PARTITION))


def _configuration(table: Table) -> dict[str, str | None]:
    # Statistics of the key only: those of sixty float columns would be most of the log.
    return {
        "delta.dataSkippingStatsColumns": ",".join(table.key),
        "delta.checkpointInterval": "50",
    }


def _encoding(frame: pl.DataFrame) -> WriterProperties:
    if not _is_wide(frame):
        return WriterProperties(compression="ZSTD", compression_level=3)
    # Hundreds of measured numbers hardly shrink: split by byte they are 15 % smaller on disk and take
    # six times as long to read. Nobody asks for the least and the most of every one a file.
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    plain = ColumnProperties(dictionary_enabled=False, encoding="PLAIN", statistics_enabled="NONE")
    return WriterProperties(compression="LZ4_RAW", column_properties=dict.fromkeys(floats, plain))


def _is_wide(frame: pl.DataFrame) -> bool:
    return sum(dtype.is_float() for dtype in frame.dtypes) >= _WIDE


def _transaction(version: int) -> CommitProperties:
    # No retry inside delta-rs: it would append after whatever came between (and before the first
    # version it does not even look). Who loses looks again at what stands. The number marks two
    # writers that both saw `version`, should a store let both commit.
    marker = Transaction(_WRITER, version + 1)
    return CommitProperties(app_transactions=[marker], max_commit_retries=0)
