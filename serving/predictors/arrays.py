"""Predictors that are nothing but arrays: one safetensors file, checked as it is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays as safetensors; the same arrays give the same bytes."""
    from safetensors.numpy import save

    path.write_bytes(save({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())}))


def read_arrays(path: Path, wanted: Mapping[str, tuple[type, int]]) -> dict[str, Array]:
    """Read the arrays that `write_arrays` wrote.

    Parameters
    ----------
    path : Path
    wanted : dict of name to (dtype, number of dimensions)

    Raises
    ------
    ValueError
        If the file is missing or damaged, or holds other arrays, types or dimensions.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Array] = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not readable as safetensors: {error}") from None
    found = {name: (array.dtype.type, array.ndim) for name, array in arrays.items()}
    if found != dict(wanted):
        raise ValueError(
            f"{path} holds {_named(found)}; this predictor is {_named(wanted)}: save it anew"
        )
    return arrays


def _named(arrays: Mapping[str, tuple[type, int]]) -> str:
    return ", ".join(f"{name} {kind.__name__}x{n}" for name, (kind, n) in sorted(arrays.items()))
