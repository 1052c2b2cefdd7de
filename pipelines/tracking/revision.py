"""Which source is running: the git commit, stamped on runs and reports."""

import os
import subprocess
from functools import cache
from pathlib import Path

# Set where the source comes without its .git folder (the container image).
VARIABLE = "SOURCE_REVISION"


@cache
def source_revision() -> str:
    """Return the commit of the source, with `+changes` if files differ from it; `unknown` outside git."""
    if given := os.environ.get(VARIABLE):
        return given
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}+changes" if changes else commit


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    command = ("git", "-C", str(folder), *arguments)
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()
