"""What a definition says, without what it is written in: source as a canonical syntax tree.

Comments, docstrings, formatting, decorators and annotations do not count; names, constants and
operations do, and so does everything the function uses from its own package.
"""

import ast
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
ENGINE = ("kernels", "grid", "matrix")


@functools.cache
def engine_hash() -> str:
    """Return the hash of the modules every feature is computed by."""
    text = "\n".join(_module_text(f"{_PACKAGE}.{name}") for name in ENGINE)
    return sha256(text.encode()).hexdigest()


@functools.cache
def definition_text(function: Callable[..., Any]) -> str:
    """Return the canonical text of `function` and of what it uses from its own package.

    Parameters
    ----------
    function : callable
        A plain or compiled function defined in a file.
    """
    return "\n".join(_reach(function, seen=set()))


def _reach(function: Any, seen: set[int]) -> Iterator[str]:
    plain = getattr(function, "py_func", function)
    if id(plain) in seen:
        return
    seen.add(id(plain))
    node = _node_of(plain)
    yield _canonical(node)
    variables = inspect.getclosurevars(plain)
    scope = {**plain.__globals__, **variables.nonlocals}
    used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    for name in sorted(used & scope.keys()):
        yield from _of_value(name, scope[name], plain.__module__, seen)


def _of_value(name: str, value: Any, home: str, seen: set[int]) -> Iterator[str]:
    target = getattr(value, "py_func", value)
    if isinstance(value, str | bytes | int | float | bool | tuple):
        yield f"{name}={value!r}"
    elif inspect.isfunction(target) and _is_own(target.__module__, home):
        yield from _reach(target, seen)
    elif isinstance(value, ModuleType) and _is_own(value.__name__, home):
        yield _module_text(value.__name__)


def _is_own(module: str, home: str) -> bool:
    # The engine is hashed as a whole, once.
    engine = {f"{_PACKAGE}.{name}" for name in ENGINE}
    return module not in engine and (module == home or module.partition(".")[0] == _PACKAGE)


def _node_of(function: Callable[..., Any]) -> ast.AST:
    code = function.__code__
    for node in ast.walk(_tree(code.co_filename)):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and _first_line(node) == (
            code.co_firstlineno
        ):
            return node
    raise ValueError(f"the source of {function.__qualname__} is not in {code.co_filename}")


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


@functools.cache
def _module_text(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"module {name} has no source to be identified by")
    return _canonical(_tree(spec.origin))


def _canonical(node: ast.AST) -> str:
    return ast.dump(_Bare().visit(ast.parse(ast.unparse(node))))


class _Bare(ast.NodeTransformer):
    """Drop docstrings, decorators and annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)
