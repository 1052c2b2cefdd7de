"""What a backup says of itself, and whether it is true."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import ContractViolation
from pipelines.ledger.schema import HEAD
from pipelines.ledger.snapshot import TABLES, columns_of, tables_of

MANIFEST = "manifest.json"
FORMAT = 1
_CHUNK = 1 << 20


class ChainHead(BaseModel):
    """The newest row of the audit chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    hash: str


class TableFile(BaseModel):
    """One table's file: its columns in order, its rows and its sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...]
    rows: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """A backup's table of contents; the rows of table `name` are in ``<name>.copy``.

    `findings` is what the verification said of the ledger when it was backed up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    schema_revision: str
    taken_at: str
    chain_head: ChainHead | None
    findings: tuple[str, ...]
    tables: dict[str, TableFile]


def file_of(table: str) -> str:
    """Return the name of a table's file in a backup."""
    return f"{table}.copy"


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield a file piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def read_manifest(folder: Path, source: Path) -> Manifest:
    """Return the manifest of the backup in `folder` if all it names is there, whole and known.

    Parameters
    ----------
    folder : Path
        Where the files are.
    source : Path
        What the person named, for the message.

    Raises
    ------
    ContractViolation
        Naming the file that is missing, damaged or newer than this version.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        raise damaged(source, f"{MANIFEST} is missing or damaged") from None
    if manifest.format > FORMAT or manifest.schema_revision > HEAD:
        raise ContractViolation(
            f"{source} is of a newer Hourglass: format {manifest.format}, schema "
            f"{manifest.schema_revision}; this one knows up to {FORMAT} and {HEAD}; nothing was restored",
            remedy="restore it with that version",
        )
    missing = tables_of(manifest.schema_revision) - set(manifest.tables)
    if missing:
        raise damaged(source, f"{MANIFEST} does not name {', '.join(sorted(missing))}")
    known = {table.name: columns_of(table.name) for table in TABLES}
    for name, entry in manifest.tables.items():
        if name not in known or not set(entry.columns) <= set(known[name]):
            raise damaged(source, f"{MANIFEST} names a table or column {name} that is not known")
        _check_file(folder / file_of(name), entry, source)
    return manifest


def damaged(source: Path, what: str) -> ContractViolation:
    """Return the refusal of a backup that is not whole."""
    return ContractViolation(
        f"{source} is damaged: {what}; nothing was restored", remedy="use another backup"
    )


def _check_file(path: Path, entry: TableFile, source: Path) -> None:
    if not path.is_file():
        raise damaged(source, f"{path.name} is missing")
    digest, rows = hashlib.sha256(), 0
    for chunk in chunks_of(path):
        digest.update(chunk)
        rows += chunk.count(b"\n")
    if digest.hexdigest() != entry.sha256 or rows != entry.rows:
        raise damaged(
            source, f"{path.name} is not what {MANIFEST} says ({rows} of {entry.rows} rows)"
        )
