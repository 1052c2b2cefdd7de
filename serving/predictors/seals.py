"""Files with their hash beside them, so that no library is handed a damaged one to parse.

Of a damaged file XGBoost may ask for all memory there is, LightGBM may end the process, and CatBoost
may make another model.
"""

import hashlib
from pathlib import Path

SEAL_SUFFIX = ".sha256"


def write_seal(path: Path) -> None:
    """Write the hash of the file at `path` beside it."""
    _seal_of(path).write_text(_digest(path.read_bytes()), encoding="ascii")


def read_sealed(path: Path) -> bytes:
    """Return what the file at `path` holds; ValueError unless it is there and as it was sealed."""
    try:
        content, seal = path.read_bytes(), _seal_of(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} is not readable with its hash: {error}") from None
    if (found := _digest(content)) != seal.decode("ascii", "replace"):
        raise ValueError(
            f"{path} has hash {found[:12]}, not the one in {_seal_of(path).name}; save the model anew"
        )
    return content


def _seal_of(path: Path) -> Path:
    return path.with_suffix(SEAL_SUFFIX)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
