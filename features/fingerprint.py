"""What a definition says, without what it is written in: source as a canonical syntax tree.

Comments, docstrings, formatting, decorators and annotations do not count; names, constants and
operations do, and so does everything the function reaches in its own package: the functions and
constants it names, and of a grid the members it uses and what they reach in turn. What a feature
does not reach may change without changing it: another kernel, another family, the order of work in
the matrix builder, which the tests hold to equal values bit for bit.
"""

import ast
import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from features import kernels
from features.grid import Grid, series

_PACKAGE = __name__.partition(".")[0]
_CONSTANTS = (str, bytes, int, float, bool, tuple, list, dict, frozenset, timedelta, type(None))
# What every value passes through, whatever its feature names.
_COMMON = (Grid.__init__, Grid.column, kernels.gather_finite)


@functools.cache
def definition_text(function: Callable[..., Any]) -> str:
    """Return the canonical text of `function` and of what it reaches in its own package.

    Parameters
    ----------
    function : callable
        A plain or compiled function defined in a file.
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
    node, scope = _bare(_node_of(one)), _scope_of(one)
    constants, reached = [], []
    for name, value in _named(node, scope):
        if isinstance(value, np.ndarray):
            constants.append(f"{name}={value.tolist()!r}")
        elif isinstance(value, _CONSTANTS):
            constants.append(f"{name}={value!r}")
        elif isinstance(value, ModuleType) and _is_own(value.__name__, home):
            raise ValueError(
                f"{one.__qualname__} uses the module {name} as a value; name what it uses of it, so "
                "that a change elsewhere in the module leaves the feature what it is"
            )
        elif _has_source(_plain(value)) and _is_own(_plain(value).__module__, home):
            reached.append(_plain(value))
    return ast.dump(node), tuple(constants), tuple(reached)


def _named(node: ast.AST, scope: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Iterate over the names of the package in `node` and their values, members of a grid included."""
    modules: set[int] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            base = scope.get(part.value.id) if isinstance(part.value, ast.Name) else None
            if isinstance(base, ModuleType):
                modules.add(id(part.value))
                yield part.attr, getattr(base, part.attr, None)
            elif _is_member(part):
                yield part.attr, vars(Grid)[part.attr]
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in scope and id(part) not in modules:
            yield part.id, scope[part.id]


def _is_member(part: ast.Attribute) -> bool:
    # What an array has too, as `shape`, is the grid's only where it is asked of the grid.
    asked = isinstance(part.value, ast.Name) and part.value.id in ("grid", "self")
    own = part.attr in vars(Grid) and not part.attr.startswith("__")
    return own and (asked or not hasattr(np.ndarray, part.attr))


def _plain(one: Any) -> Any:
    """Return the Python function behind a compiled one or a property."""
    if isinstance(one, series):
        return one.function
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
        path, line = inspect.getsourcefile(one) or "", 0
    else:
        path, line = one.__code__.co_filename, one.__code__.co_firstlineno
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ClassDef) and line == 0 and node.name == one.__name__:
            return node
        if isinstance(node, ast.FunctionDef | ast.Lambda) and _first_line(node) == line:
            return node
    raise ValueError(f"the source of {one.__qualname__} is not in {path}")


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _bare(node: ast.AST) -> ast.AST:
    return _Bare().visit(copy.deepcopy(node))  # type: ignore[no-any-return]


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
