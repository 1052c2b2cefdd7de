"""The registry: what a feature is, how a family declares its columns, and what identifies the set.

A file dropped into `features/` is a family; every function in it under `@feature` becomes one column,
or one column per entry of `windows`. The function is either

- a Polars expression: parameters are the windows, the value is a `pl.Expr` over the columns of
  `bars`, evaluated on one symbol's regular grid (missing bars are null rows), or
- a kernel: the first parameter is `grid`, the value a float64 array `[symbols, bars]`; for windows,
  which must not depend on where the frame begins (see `kernels`).
"""

import difflib
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import polars as pl

import features
from features.fingerprint import definition_text, digest

Scope = Literal["symbol", "panel"]
Window = int | tuple[int, ...]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_UNIT = re.compile(r"\S \[([^\[\]]+)\]$")


@dataclass(frozen=True)
class Feature:
    """One column.

    Parameters
    ----------
    name : str
        Function name and windows, e.g. ``ema_gap_24_96``; windows are in bars.
    family : str
        The file it stands in.
    lookback : int
        Bars, the newest included, from which the value is exact to rtol 1e-5.
    unit : str
        Without brackets.
    scope : {"symbol", "panel"}
        ``symbol`` sees one symbol's bars; ``panel`` all symbols of the venue up to the same instant.
    doc : str
        One line ending in ``[unit]``.
    function : callable
        Kernel or expression; see the module.
    is_expression : bool
        True for a Polars expression, false for a kernel.
    windows : tuple of int
        Arguments of `function` after `grid`.
    needs : tuple of str
        Nullable columns of `bars` without which the value is null.
    bounds : tuple of float or None
        Inclusive range the value cannot leave by its definition; None where there is none.
    markets : tuple of str
        Coins, as "BTC", without whose market on the venue the value is null.
    """

    name: str
    family: str
    lookback: int
    unit: str
    scope: Scope
    doc: str
    function: Callable[..., Any]
    is_expression: bool
    windows: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    markets: tuple[str, ...] = ()

    @property
    def definition_hash(self) -> str:
        """Hash of what the column is: code without comments, windows, scope and lookback.

        FeatureFailed if the code names a value that says nothing of itself (see `fingerprint`).
        """
        return _definition_hash(self)


class FeatureFailed(ValueError):
    """A feature that cannot be computed, or of which nothing says what it is.

    Parameters
    ----------
    feature : str
        Its name.
    message : str
        That name, its family and the reason.
    """

    def __init__(self, feature: str, message: str) -> None:
        super().__init__(feature, message)
        self.feature = feature

    def __str__(self) -> str:
        return str(self.args[1])


def failure(one: Feature, problem: object) -> FeatureFailed:
    """Return the error that says of a feature what is wrong with it."""
    return FeatureFailed(one.name, f"feature {one.name!r} of {one.family} failed: {problem}")


@functools.cache
def _definition_hash(one: Feature) -> str:
    parts = (one.name, one.scope, str(one.lookback), str(one.windows))
    try:
        return digest([*parts, definition_text(one.function)])
    except ValueError as error:
        raise failure(one, error) from error


_REGISTERED: dict[str, Feature] = {}


def define(
    function: Callable[..., Any],
    *,
    lookback: int | Callable[..., int],
    windows: Sequence[Window] = ((),),
    scope: Scope = "symbol",
    needs: Sequence[str] = (),
    bounds: tuple[float | None, float | None] = (None, None),
    markets: Sequence[str] = (),
) -> list[Feature]:
    """Return the features `function` defines, one per entry of `windows`, without registering them.

    Raises
    ------
    ValueError
        If the docstring's first line does not end in a unit, a lookback is no whole number of at
        least one bar, two entries of `windows` make the same name, or an expression raises or gives
        no number a bar. What a kernel returns is checked when it runs (`matrix.compute`) and by
        `proof.computable`, for running it here would compile it.
    """
    family = function.__module__.rpartition(".")[2]
    line = (inspect.getdoc(function) or "").partition("\n")[0]
    unit = _UNIT.search(line)
    if unit is None:
        raise ValueError(
            f"feature {function.__name__!r} of {family}: the docstring's first line is {line!r}; "
            "it must say what the column is and end in its unit, as in 'Log return [log return]'"
        )
    parameters = inspect.signature(function).parameters
    names = [name for name in parameters if name != "grid"]
    made: list[Feature] = []
    for entry in windows:
        window = entry if isinstance(entry, tuple) else (entry,)
        name = "_".join([function.__name__, *map(str, window)])
        bars = lookback(*window) if callable(lookback) else lookback
        if isinstance(bars, bool) or not isinstance(bars, int) or bars < 1:
            raise ValueError(
                f"feature {name!r} of {family}: lookback {bars!r} is below one bar or no whole number; "
                "give the bars, the newest included, from which the value is exact"
            )
        if name in {one.name for one in made}:
            raise ValueError(f"feature {name!r} of {family} is defined twice; give windows once")
        doc = line.format(**dict(zip(names, window, strict=True)))
        if "grid" not in parameters:
            _try_expression(function, window, f"feature {name!r} of {family}")
        made.append(
            Feature(
                name=name,
                family=family,
                lookback=bars,
                unit=unit[1],
                scope=scope,
                doc=doc,
                function=function,
                is_expression="grid" not in parameters,
                windows=window,
                needs=tuple(needs),
                bounds=bounds,
                markets=tuple(markets),
            )
        )
    return made


def _try_expression(function: Callable[..., Any], window: tuple[int, ...], who: str) -> None:
    """Refuse an expression that gives anything but one number a bar, on three bars."""
    expression: Any = function(*window)
    if not isinstance(expression, pl.Expr):
        given = type(expression).__name__
        raise ValueError(
            f"{who} failed: without a `grid` parameter it must return a pl.Expr, not {given}"
        )
    known_at = pl.Series("known_at", [1, 2, 3]).cast(pl.Datetime("us", "UTC"))
    text, times = ("venue", "symbol"), ("known_at", "open_time")
    columns = {
        name: known_at if name in times else ["a"] * 3 if name in text else [1.0, 2.0, 3.0]
        for name in expression.meta.root_names()
    }
    try:
        dtype = (
            pl.DataFrame({"bar": known_at, **columns})
            .select("bar", value=expression)["value"]
            .dtype
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{who} failed: {error}") from error
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise ValueError(f"{who} failed: it returned {dtype}, which is not numeric")


def feature(
    *,
    lookback: int | Callable[..., int],
    windows: Sequence[Window] = ((),),
    scope: Scope = "symbol",
    needs: Sequence[str] = (),
    bounds: tuple[float | None, float | None] = (None, None),
    markets: Sequence[str] = (),
) -> Callable[[_Function], _Function]:
    """Register the decorated function; the arguments are those of `Feature`.

    Parameters
    ----------
    lookback : int or callable
        A number of bars, or a function of the windows that returns it.
    windows : sequence of int or tuple of int
        One column per entry; a tuple binds several parameters.

    Raises
    ------
    ValueError
        If a name is taken, naming both families.
    """

    def register(function: _Function) -> _Function:
        add(
            define(
                function,
                lookback=lookback,
                windows=windows,
                scope=scope,
                needs=needs,
                bounds=bounds,
                markets=markets,
            )
        )
        return function

    return register


def add(made: Iterable[Feature]) -> None:
    """Put features into the registry; ValueError if a name is taken."""
    for one in made:
        taken = _REGISTERED.get(one.name)
        if taken is not None:
            raise ValueError(
                f"feature {one.name!r} of {one.family} is already defined in {taken.family}; "
                "give one of them another name"
            )
        _REGISTERED[one.name] = one


def registered(families: Sequence[str] = ()) -> list[Feature]:
    """Return every feature, or those of `families`, in order of family and definition.

    Raises
    ------
    ValueError
        If a family does not exist, naming those that do, or a file in the folder cannot be read.
    """
    _discover()
    known = sorted({one.family for one in _REGISTERED.values()})
    if unknown := sorted(set(families) - set(known)):
        raise ValueError(f"feature families {unknown} do not exist; known are {', '.join(known)}")
    chosen = families or known
    return sorted(
        (one for one in _REGISTERED.values() if one.family in chosen), key=lambda one: one.family
    )


@functools.cache
def _discover() -> None:
    for module in pkgutil.iter_modules(features.__path__):
        try:
            importlib.import_module(f"{features.__name__}.{module.name}")
        except Exception as error:
            told = str(error) if isinstance(error, ValueError) else repr(error)
            raise ValueError(f"the feature file {module.name}.py cannot be read: {told}") from error


def select(names: Sequence[str] | None = None) -> list[Feature]:
    """Return the features called `names`, in that order, or all of them.

    Raises
    ------
    ValueError
        If a name is not registered, naming the nearest.
    """
    known = {one.name: one for one in registered()}
    if names is None:
        return list(known.values())
    if unknown := [name for name in names if name not in known]:
        raise ValueError("; ".join(_unknown(name, known) for name in unknown))
    return [known[name] for name in names]


def required_lookback(names: Sequence[str] | None = None) -> int:
    """Return the longest lookback among `names`, in bars."""
    return max((one.lookback for one in select(names)), default=1)


def feature_set_hash(names: Sequence[str] | None = None) -> str:
    """Return the identity of a set of features: equal for equal definitions, whatever the comments."""
    return digest(sorted(one.definition_hash for one in select(names)))[:16]


def feature_hashes(names: Sequence[str] | None = None) -> dict[str, str]:
    """Return the identity of each feature: where it differs, only that column is another.

    A feature's hash changes with its own code, the code and constants it reaches in the package, its
    windows, scope and lookback; not with comments, and not with code that it does not reach.
    """
    return {one.name: one.definition_hash[:16] for one in select(names)}


def _unknown(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    hint = f", did you mean {nearest[0]!r}?" if nearest else ""
    return f"feature {name!r} is not registered{hint}"
