"""How kernels are compiled: numba, cached on disk, and never served stale."""

import hashlib
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Kernels work in place on arrays they are given and allocate nothing, so numba's reference counting
# (`_nrt`) is switched off: atomic counts on every array of a tuple took nine tenths of the time.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a kernel that other kernels call; it is compiled into its callers."""
    kernel: Function = numba.njit(**OPTIONS, forceinline=True)(function)
    return kernel


def inlined(function: Function) -> Function:
    """Compile a small kernel that many kernels call into each of them before types are inferred.

    For leaves of a few lines, which cost the compiler more to call than to copy. What is large or
    nested deep is better `compiled`: its copies would multiply.
    """
    kernel: Function = numba.njit(**OPTIONS, inline="always")(function)
    return kernel


def cached(function: Function) -> Function:
    """Compile a kernel that Python calls, and keep the machine code on disk beside its source.

    `function` must close over a `fingerprint` of its callees: numba's cache looks at the closure
    and at the file of the function itself, so without it an edit in a callee's file would go
    unnoticed and yesterday's code would run.
    """
    if "fingerprint" not in function.__code__.co_freevars:
        raise ValueError(f"{function.__name__} is cached without a fingerprint of its callees")
    kernel: Function = numba.njit(**OPTIONS, cache=True)(function)
    return kernel


def fingerprint_of(function: Callable[..., Any], *tuples: type) -> int:
    """Return a number that changes with the code of a kernel, of all kernels it calls, and of `tuples`.

    Parameters
    ----------
    function : callable
        A kernel.
    *tuples : type
        The named tuples it is called with; the order of their fields is part of the machine code.
    """
    digest = hashlib.sha256(
        repr((OPTIONS, [(t.__name__, getattr(t, "_fields", ())) for t in tuples])).encode()
    )
    _absorb(function, digest, set())
    return int.from_bytes(digest.digest()[:7], "big")


def _absorb(function: Any, digest: "hashlib._Hash", seen: set[str]) -> None:
    python = getattr(function, "py_func", function)
    name = f"{python.__module__}.{python.__qualname__}"
    if name in seen:
        return
    seen.add(name)
    code: CodeType = python.__code__
    digest.update(repr((name, code.co_code, code.co_consts, code.co_names)).encode())
    for used in code.co_names:
        value = python.__globals__.get(used)
        if hasattr(value, "py_func"):
            _absorb(value, digest, seen)
        elif isinstance(value, int | float | tuple):
            digest.update(repr((used, value)).encode())
