"""Write a backup: it appears whole, or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.backup.archive import is_archive, pack
from pipelines.backup.manifest import FORMAT, MANIFEST, ChainHead, Manifest, TableFile, file_of
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.ledger.schema import HEAD
from pipelines.ledger.snapshot import TABLES, Snapshot, columns_of

Progress = Callable[[int, int, str], None]
_WRONG_ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip", ".zst", ".sql", ".gz")


def backup(
    context: Context, to: Path, at: datetime, progress: Progress | None = None
) -> dict[str, Any]:
    """Write a backup of the ledger and return what is in it.

    Parameters
    ----------
    context : Context
    to : Path
        A file that ends in ``.tar.zst``, or a folder.
    at : datetime
        When it is taken, for the manifest.
    progress : callable, optional
        Is called with the step's number, how many there are, and what it does.

    Returns
    -------
    dict
        ``{"to", "schema", "rows", "bytes", "chain_head", "findings"}``. A ledger that does not verify
        is backed up all the same: `findings` says what is wrong in the very rows that were copied.

    Raises
    ------
    ConfigError
        If `to` exists, or ends like an archive of another kind.
    """
    to = to.expanduser().absolute()
    if to.exists():
        raise ConfigError(f"{to} exists; nothing was written", remedy="name a new file or folder")
    if not is_archive(to) and to.name.endswith(_WRONG_ENDINGS):
        raise ConfigError(
            f"{to.name} is no backup's name; nothing was written",
            remedy="name a file that ends in .tar.zst, or a folder",
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        whole = unfinished / "ledger"
        whole.mkdir()
        manifest = _write_files(context, whole, at, progress)
        size = sum(file.stat().st_size for file in whole.iterdir())
        if is_archive(to):
            pack(whole, unfinished / to.name)
            whole = unfinished / to.name
            size = whole.stat().st_size
        _settle(whole)
        whole.rename(to)
    finally:
        shutil.rmtree(unfinished)
    return {
        "to": str(to),
        "schema": manifest.schema_revision,
        "rows": {name: entry.rows for name, entry in manifest.tables.items()},
        "bytes": size,
        "chain_head": manifest.chain_head and manifest.chain_head.model_dump(),
        "findings": list(manifest.findings),
    }


def _write_files(
    context: Context, folder: Path, at: datetime, progress: Progress | None
) -> Manifest:
    """Write every table and the manifest, all as of one instant of the database."""
    tables: dict[str, TableFile] = {}
    with context.ledger.snapshot() as snapshot:
        for number, table in enumerate(TABLES, start=1):
            if progress:
                progress(number, len(TABLES) + 1, table.name)
            tables[table.name] = _write_table(snapshot, table.name, folder)
        if progress:
            progress(len(TABLES) + 1, len(TABLES) + 1, "verifying")
        head = snapshot.chain_head()
        manifest = Manifest(
            format=FORMAT,
            schema_revision=HEAD,
            taken_at=format_instant(at),
            chain_head=None if head is None else ChainHead.model_validate(head),
            findings=tuple(snapshot.findings()),
            tables=tables,
        )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def _write_table(snapshot: Snapshot, name: str, folder: Path) -> TableFile:
    digest, rows = hashlib.sha256(), 0
    with (folder / file_of(name)).open("wb") as out:
        for chunk in snapshot.rows(name):
            out.write(chunk)
            digest.update(chunk)
            # A line break inside a value is written as an escape: lines are rows.
            rows += chunk.count(b"\n")
    return TableFile(columns=tuple(columns_of(name)), rows=rows, sha256=digest.hexdigest())


def _settle(path: Path) -> None:
    """Have the disk hold a file, or the files of a folder, before it gets its name."""
    for file in [path] if path.is_file() else path.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
