"""Restore a backup: checked before, verified after, in one transaction."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.backup.archive import ARCHIVE, unpack
from pipelines.backup.manifest import MANIFEST, chunks_of, damaged, file_of, read_manifest
from pipelines.backup.writing import Progress, backup
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.ledger.snapshot import TABLES


def restore(
    context: Context,
    source: Path,
    at: datetime,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Put a backup into an empty ledger, or in place of the one that stands.

    Parameters
    ----------
    context : Context
    source : Path
        What `backup` wrote: a file or a folder. One of an older schema is taken as well.
    at : datetime
        Names the safety backup.
    replace : bool
        Replace a ledger that is not empty, after backing it up under ``<home>/backups``. Stop the
        scheduler first: a process that had traded before refuses its next hour.
    progress : callable, optional

    Returns
    -------
    dict
        ``{"from", "schema", "rows", "chain_head", "replaced"}``; `replaced` is the path of the safety
        backup, None where the ledger was empty.

    Raises
    ------
    ConfigError
        If `source` does not exist.
    ContractViolation
        If it is damaged, of a newer version, or does not verify, or the ledger is not empty: the
        ledger is as it was.
    """
    source = source.expanduser().absolute()
    with _opened(source) as folder:
        manifest = read_manifest(folder, source)
        kept = None
        if replace and not context.ledger.is_empty():
            kept = _safety_path(context, at)
            backup(context, kept, at)
        steps = iter(range(1, len(TABLES) + 2))

        def told(what: str) -> None:
            if progress:
                progress(next(steps), len(TABLES) + 1, what)

        head = None if manifest.chain_head is None else manifest.chain_head.model_dump()
        context.ledger.restore(
            {
                name: (entry.columns, chunks_of(folder / file_of(name)))
                for name, entry in manifest.tables.items()
            },
            head,
            replace=replace,
            told=told,
        )
    return {
        "from": str(source),
        "schema": manifest.schema_revision,
        "rows": {name: entry.rows for name, entry in manifest.tables.items()},
        "chain_head": head,
        "replaced": None if kept is None else str(kept),
    }


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """Yield the folder of a backup's files; those of an archive are gone afterwards."""
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise ConfigError(f"{source} does not exist", remedy="name a backup")
    expected = {MANIFEST, *(file_of(table.name) for table in TABLES)}
    with tempfile.TemporaryDirectory(prefix="hourglass-restore-") as folder:
        try:
            unpack(source, Path(folder), expected)
        except (OSError, EOFError, tarfile.TarError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise damaged(source, f"it is no whole {ARCHIVE} archive") from None
        yield Path(folder)


def _safety_path(context: Context, at: datetime) -> Path:
    """Return a path under the home's backups that is free."""
    stamp = format_instant(at).replace("-", "").replace(":", "")
    folder = context.settings.home / "backups"
    taken = len(list(folder.glob(f"before-restore-{stamp}*")))
    return folder / f"before-restore-{stamp}{f'-{taken}' if taken else ''}{ARCHIVE}"
