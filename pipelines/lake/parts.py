"""Wide rows of an hour or a month as data files of a local table, written here and named to the log.

delta-rs plans every write as a query, 65 us a column: for ten rows of hundreds of columns that is most of
the hour's commit. A file and its entry are the same without it; maintenance packs them with the others.
A row that changes takes the file that holds it along, and no other.
For a table of a few columns delta-rs is as quick: it knows the new version without reading the log again.
"""

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
from deltalake.transaction import AddAction, RemoveAction

from pipelines import clock
from pipelines.lake.snapshot import month_expression
from pipelines.tables import Table

PARTITION = "month"
# Up to so many rows, a month of 25 symbols, they are encoded in memory.
FEW_ROWS = 20_000


def write_parts(folder: Path, table: Table, frame: pl.DataFrame) -> list[AddAction | RemoveAction]:
    """Write a data file for every month in `frame` and return what the log shall say of each.

    A file counts from the moment a commit names it; until then nobody sees it, and maintenance
    sweeps those that none ever named.

    Parameters
    ----------
    folder : Path
        Folder of the table.
    frame : polars.DataFrame
        Rows in the table's schema, without its partition column; at least one.

    Raises
    ------
    OSError
        If a file cannot be written: none is named then.
    """
    return [_write_part(folder, table, month, rows) for month, rows in _by_month(table, frame)]


def remove_parts(files: pl.DataFrame) -> list[AddAction | RemoveAction]:
    """Return what the log shall say of data files that go; `files` are rows of `Snapshot.files`.

    The files stay where they are, for versions of the past, until maintenance deletes them.
    """
    return [
        RemoveAction(
            path,
            data_change=True,
            deletion_timestamp=_now(),
            size=size,
            partition_values={PARTITION: month} if month else {},
        )
        for path, size, month in files.select("path", "size", "month").iter_rows()
    ]


def _by_month(table: Table, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    months = frame.select(month_expression(table)).to_series()
    for month in months.unique().sort():
        yield month, frame.filter(months == month)


def _write_part(folder: Path, table: Table, month: str, rows: pl.DataFrame) -> AddAction:
    partition = {PARTITION: month} if table.partitioned else {}
    inside = "".join(f"{name}={value}/" for name, value in partition.items())
    path = f"{inside}part-{uuid4()}.lz4.parquet"
    encoded = io.BytesIO()
    rows.write_parquet(encoded, compression="lz4", statistics=False)
    file = folder / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(encoded.getbuffer())
    return AddAction(
        path=path,
        size=encoded.getbuffer().nbytes,
        partition_values=partition,
        modification_time=_now(),
        data_change=True,
        stats=json.dumps(_statistics(rows.select(table.key))),
    )


def _now() -> int:
    return round(clock.now().timestamp() * 1000)


def _statistics(keys: pl.DataFrame) -> dict[str, Any]:
    def told(bounds: pl.DataFrame) -> dict[str, Any]:
        return {name: _as_json(value) for name, value in bounds.row(0, named=True).items()}

    return {
        "numRecords": keys.height,
        "minValues": told(keys.min()),
        "maxValues": told(keys.max()),
        "nullCount": keys.null_count().row(0, named=True),
    }


def _as_json(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
