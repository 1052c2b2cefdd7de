"""What a definition says, without what it is written in: source as a canonical syntax tree.

Comments, docstrings, formatting, decorators and annotations do not count; names, constants and
operations do, and so does everything the function reaches in its own package: the functions and
constants it names, functions in tables and partials included, and of a grid the members it uses and
what they reach in turn. What a library gives counts by its name. What a feature does not reach may
change without changing it: another kernel, another family, the order of work in the matrix builder,
which the tests hold to equal values bit for bit. A constant of which nothing can be said that is the
same in every process, such as an object of a class, is refused by its name.
"""

import ast
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from enum import Enum
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_origin

import numpy as np
import polars as pl

from features import kernels
from features.grid import Grid, series

_PACKAGE = __name__.partition(".")[0]
# What `repr` says of these is all there is to say, in every process.
_CONSTANTS = (
    str, bytes, int, float, complex, bool, range, date, timedelta, Enum, type(None),
    np.generic, np.dtype, pl.DataType,
)  # fmt: skip
# What every value passes through, whatever its feature names.
_COMMON = (Grid.__init__, Grid.column, kernels.gather_finite)


@functools.cache
def definition_text(function: Callable[..., Any]) -> str:
    """Return the canonical text of `function` and of what it reaches in its own package.

    Parameters
    ----------
    function : callable
        A plain or compiled function defined in a file.

    Raises
    ------
    ValueError
        If it reaches a value that cannot be told by what is written, naming both.
    """
    plain = _plain(function)
    common = (
        (*_COMMON, Grid.frame) if "grid" not in inspect.signature(plain).parameters else _COMMON
    )
    found: dict[str, None] = {}
    waiting: list[Any] = [plain, *common]
    seen: set[int] = set()
    while waiting:
        one = _plain(waiting.pop())
        if id(one) not in seen:
            seen.add(id(one))
            text, constants, reached = _facts(one, plain.__module__)
            found |= dict.fromkeys((text, *constants))
            waiting.extend(reached)
    first, *rest = found
    return "\n".join([first, *sorted(rest)])


def digest(parts: Iterable[str]) -> str:
    """Return the hash of `parts` in order."""
    return sha256("\x1f".join(parts).encode()).hexdigest()


@functools.cache
def _facts(one: Any, home: str) -> tuple[str, tuple[str, ...], tuple[Any, ...]]:
    """Return the text of a function or class, its constants, and what of the package it names."""
    constants: list[str] = []
    reached: list[Any] = []
    for name, value, module in _named(one):
        if module is not None and not _is_own(module, home):
            continue
        if isinstance(value, ModuleType):
            if _is_own(value.__name__, home):
                raise ValueError(
                    f"{one.__qualname__} uses the module {name} as a value; name what it uses of it, so "
                    "that a change elsewhere in the module leaves the feature what it is"
                )
            continue
        try:
            constants.append(f"{name}={_said(value, home, reached)}")
        except TypeError as error:
            raise ValueError(
                f"{one.__qualname__} uses {name}, which holds {error}: what that is cannot be told from "
                "what is written; make it inside a function, or of numbers, text, arrays and functions"
            ) from None
    return _text_of(one), tuple(constants), tuple(reached)


def _said(value: Any, home: str, reached: list[Any]) -> str:
    """Return what says a value in every process, and add the package's code in it to `reached`.

    TypeError, with the type in words, if nothing does.
    """
    plain = _plain(value)
    if isinstance(value, _CONSTANTS):
        return repr(value)
    if _has_source(plain) and _is_own(plain.__module__, home):
        reached.append(plain)
        return _name_of(plain)
    kind = type(value).__name__
    if _is_of_a_library(plain):
        return f"{getattr(plain, '__module__', None)}.{getattr(plain, '__qualname__', kind)}"
    parts = [_said(part, home, reached) for part in _parts(value)]
    return f"{kind}({', '.join(sorted(parts) if isinstance(value, set | frozenset) else parts)})"


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return [value.tolist()]
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, tuple | list | set | frozenset):
        return value
    raise TypeError(f"an object of type {type(value).__name__}")


def _name_of(one: Any) -> str:
    # Lambdas have no name that tells one from the other.
    return _text_of(one) if one.__name__ == "<lambda>" else str(one.__qualname__)


@functools.cache
def _text_of(one: Any) -> str:
    return ast.dump(_node_of(one))


def _is_of_a_library(one: Any) -> bool:
    """Say whether a value is a function, class or type that its name identifies."""
    if one is pl.col or one is Grid or isinstance(one, TypeVar) or get_origin(one) is not None:
        return True
    bound_to = getattr(one, "__self__", None)
    bound = bound_to is not None and not isinstance(bound_to, ModuleType)
    return (inspect.isroutine(one) and not bound) or inspect.isclass(one) or type(one) is np.ufunc


@functools.cache
def _named(one: Any) -> tuple[tuple[str, Any, str | None], ...]:
    """Return the names in `one`, their values, and the module that a name is looked up in, if in any.

    Members of a grid are among them.
    """
    scope, parts = _scope_of(one), list(ast.walk(_node_of(one)))
    modules: set[int] = set()
    called = {id(part.func) for part in parts if isinstance(part, ast.Call)}
    found: list[tuple[str, Any, str | None]] = []
    for part in parts:
        if isinstance(part, ast.Attribute):
            base = scope.get(part.value.id) if isinstance(part.value, ast.Name) else None
            if isinstance(base, ModuleType):
                modules.add(id(part.value))
                found.append((part.attr, getattr(base, part.attr, None), base.__name__))
            elif _is_member(part, called=id(part) in called):
                found.append((part.attr, vars(Grid)[part.attr], None))
    for part in parts:
        if isinstance(part, ast.Name) and part.id in scope and id(part) not in modules:
            found.append((part.id, scope[part.id], None))
    return tuple(found)


def _is_member(part: ast.Attribute, *, called: bool) -> bool:
    # What an array has too is the grid's where it is called: `mean` may be either's, and counts as both.
    # Only `shape`, which an array has without a call, must be asked of the grid.
    asked = isinstance(part.value, ast.Name) and part.value.id in ("grid", "self")
    own = part.attr in vars(Grid) and not part.attr.startswith("__")
    return own and (asked or called or not hasattr(np.ndarray, part.attr))


def _plain(one: Any) -> Any:
    """Return the Python function behind a compiled or remembering one, or a property."""
    # `pl.col` has every attribute that it is asked for, as a column.
    if one is pl.col:
        return one
    if isinstance(one, series):
        return one.function
    if isinstance(one, functools._lru_cache_wrapper):
        return one.__wrapped__
    if isinstance(one, cached_property):
        return one.func
    if isinstance(one, property):
        return one.fget
    return getattr(one, "py_func", one)


def _has_source(one: Any) -> bool:
    return inspect.isfunction(one) or (inspect.isclass(one) and one is not Grid)


def _is_own(module: str, home: str) -> bool:
    return module == home or module.partition(".")[0] == _PACKAGE


def _scope_of(one: Any) -> dict[str, Any]:
    if inspect.isclass(one):
        return dict(vars(inspect.getmodule(one)))
    return {**one.__globals__, **inspect.getclosurevars(one).nonlocals}


def _node_of(one: Any) -> ast.AST:
    if inspect.isclass(one):
        path, line, name = inspect.getsourcefile(one) or "", 0, one.__name__
    else:
        code = one.__code__
        path, line, name = code.co_filename, code.co_firstlineno, code.co_name
    found = _definitions(path).get((name, line), ())
    if not found:
        raise ValueError(f"the source of {one.__qualname__} is not in {path}")
    if isinstance(found[0], ast.Lambda) and len(found) > 1:
        raise ValueError(f"two lambdas stand in line {line} of {path}; give each a line of its own")
    return found[0]


@functools.cache
def _definitions(path: str) -> dict[tuple[str, int], list[ast.AST]]:
    """Return every function, class and lambda in a file, bare, by its name and first line; 0 of a class."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    found: dict[tuple[str, int], list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
            found.setdefault((node.name, min(lines)), []).append(node)
        elif isinstance(node, ast.ClassDef):
            found.setdefault((node.name, 0), []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(("<lambda>", node.lineno), []).append(node)
    _Bare().visit(tree)
    return found


class _Bare(ast.NodeTransformer):
    """Drop docstrings, decorators and annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)
