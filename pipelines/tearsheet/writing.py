"""A sheet into files: each whole or not there."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from evaluation.tearsheet import TearSheet
from pipelines.errors import ConfigError
from pipelines.tearsheet.html import render_html

FILE_NAME = "tear_sheet"


def write_tear_sheet(
    sheet: TearSheet, folder: Path, formats: Sequence[str] = ("html", "pdf", "xlsx", "json")
) -> dict[str, Path]:
    """Write `sheet` as ``tear_sheet.<format>`` into `folder`, which is made; return the files by format.

    A file is a function of the sheet alone: writing twice leaves the same bytes. One that stands is
    replaced in one step, so that a reader sees the old or the new and nothing between.

    Raises
    ------
    ConfigError
        If a format is not known.
    """
    unknown = [f for f in formats if f not in RENDERERS]
    if unknown:
        raise ConfigError(
            f"a tear sheet cannot be written as {', '.join(unknown)}",
            remedy=f"choose from {', '.join(RENDERERS)}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name in dict.fromkeys(formats):
        written[name] = folder / f"{FILE_NAME}.{name}"
        _replace(written[name], RENDERERS[name](sheet))
    return written


def _html(sheet: TearSheet) -> bytes:
    return render_html(sheet).encode()


def _pdf(sheet: TearSheet) -> bytes:
    from pipelines.tearsheet.pdf import render_pdf

    return render_pdf(sheet)


def _excel(sheet: TearSheet) -> bytes:
    from pipelines.tearsheet.excel import render_excel

    return render_excel(sheet)


def _json(sheet: TearSheet) -> bytes:
    return json.dumps(sheet.as_json(), allow_nan=False, indent=1).encode()


# Matplotlib takes a second to import, so drawing is imported by those who draw.
RENDERERS: dict[str, Callable[[TearSheet], bytes]] = {
    "html": _html,
    "pdf": _pdf,
    "xlsx": _excel,
    "json": _json,
}


def _replace(path: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        whole = Path(draft.name)
        try:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            whole.chmod(0o644)
            whole.replace(path)
        except BaseException:
            whole.unlink()
            raise
