"""What identifies a definition: the same in every process, another with whatever it reaches."""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.fingerprint import definition_text
from features.grid import Grid
from features.kernels import Array
from features.registry import FeatureFailed, define, feature_set_hash

FAMILY = '''
"""A family whose constants hold functions, sets and partials."""
import functools
import numpy as np
from features.grid import Grid

def _once(x):
    return x

def _twice(x, by=2):
    return by * x

TABLE = {"once": (_once, [_twice]), "larger": np.fmax}
NAMES = {"open", "high", "low", "close", "volume"}
KEPT = frozenset({("open", 1), ("close", 2), ("high", 3)})
PART = functools.partial(_twice, by=4)
TURN = lambda x: -x

@functools.cache
def _weight(window):
    return window / 2

def of_constants(grid: Grid, window: int) -> np.ndarray:
    """A number that many constants go into, over {window} bars [count]"""
    first, (second,) = TABLE["once"]
    level = PART(first(grid.close)) + second(TURN(grid.open)) * _weight(window)
    return TABLE["larger"](level, len(NAMES) + len(KEPT))
'''
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from family import of_constants
from features.fingerprint import definition_text, digest
from features.registry import feature_set_hash
print(digest([definition_text(of_constants)]), feature_set_hash())
"""


def test_a_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "family.py").write_text(FAMILY)
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert told[0][1] == feature_set_hash()


def text_of(file: Path, source: str) -> str:
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("family", file)
    assert spec is not None
    assert spec.loader is not None
    family = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(family)
    return definition_text(family.of_constants)


def test_what_constants_hold_is_part_of_the_definition(tmp_path: Path) -> None:
    edits = {
        "a function in a table": ("by * x", "by + x"),
        "the order in a table": ("(_once, [_twice])", "(_twice, [_once])"),
        "a library's function in a table": ("np.fmax", "np.fmin"),
        "a set": ('"low", ', ""),
        "a frozen set": ('("high", 3)', '("high", 4)'),
        "an argument of a partial": ("by=4", "by=5"),
        "a lambda": ("lambda x: -x", "lambda x: +x"),
        "a function that remembers": ("window / 2", "window / 3"),
    }
    texts = {"": text_of(tmp_path / "family.py", FAMILY)}
    for number, (what, (old, new)) in enumerate(edits.items()):
        assert FAMILY.count(old) == 1
        texts[what] = text_of(tmp_path / f"family_{number}.py", FAMILY.replace(old, new))
    assert len(set(texts.values())) == len(texts)
    assert text_of(tmp_path / "another.py", FAMILY) == texts[""]


def smoothed(g: Grid, window: int) -> Array:
    return g.mean(g.close, window)


def smooth(grid: Grid) -> Array:
    """Mean of five closes [quote]"""
    return smoothed(grid, 5)


def shaped(grid: Grid) -> Array:
    """As many ones as there are closes [count]"""
    return np.ones(smooth(grid).shape)


def test_a_member_of_the_grid_is_reached_whatever_the_grid_is_called() -> None:
    text = definition_text(smooth)
    assert "FunctionDef(name='mean'" in text
    assert "FunctionDef(name='window_mean'" in text
    assert "FunctionDef(name='shape'" not in definition_text(shaped)


CURVE = np.poly1d([1.0, 2.0])
CLOSE = pl.col("close")
TABLE = {"curves": [CURVE]}
LOOKED_UP = TABLE.get
# fmt: off
BOTH = (lambda x: x + 1, lambda x: x - 1)
# fmt: on


def of_an_object(grid: Grid) -> Array:
    """A curve of the close [quote]"""
    return CURVE(grid.close)


def of_an_expression() -> pl.Expr:
    """The close [quote]"""
    return CLOSE


def of_a_table(grid: Grid) -> Array:
    """A curve of the close, found in a table [quote]"""
    return TABLE["curves"][0](grid.close)


def of_a_bound_method(grid: Grid) -> Array:
    """A curve of the close, found by a method [quote]"""
    return LOOKED_UP("curves")[0](grid.close)


def of_two_lambdas(grid: Grid) -> Array:
    """The close and one [quote]"""
    return BOTH[0](grid.close)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (of_an_object, "uses CURVE, which holds an object of type poly1d"),
        (of_an_expression, "uses CLOSE, which holds an object of type Expr"),
        (of_a_table, "uses TABLE, which holds an object of type poly1d"),
        (of_a_bound_method, "uses LOOKED_UP, which holds an object of type builtin_function"),
        (of_two_lambdas, "two lambdas stand in line"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_says_nothing_of_itself_is_refused_by_name(function, reason: str) -> None:
    (one,) = define(function, lookback=1)
    name = function.__name__
    with pytest.raises(FeatureFailed, match=f"'{name}' of test_fingerprint failed: .*{reason}"):
        _ = one.definition_hash


def with_others(function):
    @functools.wraps(function)
    def around(grid: Grid) -> Array:
        return 2 * function(grid)

    return around


@with_others
def wrapped(grid: Grid) -> Array:
    """Twice the close [quote]"""
    return grid.close


def test_a_wrapped_function_is_what_wraps_it_and_what_it_wraps() -> None:
    text = definition_text(wrapped)
    assert "FunctionDef(name='around'" in text
    assert "FunctionDef(name='wrapped'" in text
