"""The registry: what a definition must say, what identifies it, and how a file becomes a family."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from features.registry import add, define, feature_set_hash, registered, select

PARTICIPANTS = {
    "calendar", "candles", "cross_asset", "momentum", "orderflow", "oscillators", "spectral",
    "statistics", "trend", "volatility", "volume",
}  # fmt: skip


def test_eleven_families_of_about_a_hundred_columns_are_registered() -> None:
    features = registered()
    assert {feature.family for feature in features} == PARTICIPANTS
    assert len(features) == 101
    assert {"realised_vol_72", "atr_14", "ema_gap_24_96"} <= {one.name for one in features}


def test_families_can_be_chosen_and_an_unknown_one_is_refused() -> None:
    assert {one.family for one in registered(("trend", "volume"))} == {"trend", "volume"}
    with pytest.raises(ValueError, match=r"\['trends'\] do not exist; known are calendar, candles"):
        registered(("trends",))


def test_a_definition_names_its_columns_by_function_and_windows() -> None:
    def gap(fast: int, slow: int) -> pl.Expr:
        """Mean of {fast} bars over that of {slow} [ratio]"""
        return pl.col("close").rolling_mean(fast) / pl.col("close").rolling_mean(slow)

    made = define(gap, windows=((2, 8), (3, 9)), lookback=lambda fast, slow: slow)
    assert [one.name for one in made] == ["gap_2_8", "gap_3_9"]
    assert made[0].doc == "Mean of 2 bars over that of 8 [ratio]"
    assert made[0].unit == "ratio"
    assert [one.lookback for one in made] == [8, 9]
    assert made[0].is_expression


def test_a_definition_without_a_unit_is_refused() -> None:
    def nameless() -> pl.Expr:
        """A number"""
        return pl.lit(1)

    with pytest.raises(ValueError, match=r"'nameless' of test_registry.*must say what"):
        define(nameless, lookback=1)


def test_a_lookback_below_one_bar_is_refused() -> None:
    def early() -> pl.Expr:
        """A number [count]"""
        return pl.lit(1)

    with pytest.raises(ValueError, match="lookback 0 is below one bar"):
        define(early, lookback=0)


def test_a_name_that_is_taken_is_refused() -> None:
    def atr(window: int) -> pl.Expr:
        """Another range over {window} bars [fraction]"""
        return pl.col("high").rolling_max(window)

    with pytest.raises(
        ValueError, match=r"'atr_14' of test_registry is already defined in volatil"
    ):
        add(define(atr, windows=(14,), lookback=14))


def test_the_hash_of_a_set_does_not_depend_on_order() -> None:
    assert feature_set_hash(["atr_14", "rsi_14"]) == feature_set_hash(["rsi_14", "atr_14"])
    assert feature_set_hash(["atr_14"]) != feature_set_hash(["atr_48"])
    assert feature_set_hash() == feature_set_hash([one.name for one in registered()])
    assert len(feature_set_hash()) == 16


FAMILY = '''
"""A family of one."""
import polars as pl
from features.registry import feature

SCALE = 2.0

def _half(x):
    return x / SCALE

@feature(windows=(5,), lookback=lambda window: window)
def half_range(window: int) -> pl.Expr:
    """Half the range of {window} bars [quote]"""
    return _half(pl.col("high").rolling_max(window) - pl.col("low").rolling_min(window))
'''
PROGRAM = """
import sys, features
features.__path__.append(sys.argv[1])
from features.registry import registered, select, feature_set_hash
one = select(["half_range_5"])[0]
print(one.family, one.lookback, one.doc, one.definition_hash, feature_set_hash(["atr_14"]))
"""


def dropped(folder: Path, text: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "dropped.py").write_text(text)
    run = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()


def test_a_file_dropped_in_is_a_family_identified_by_what_it_computes(tmp_path: Path) -> None:
    words = dropped(tmp_path / "a", FAMILY)
    assert words[0] == "dropped"
    assert " ".join(words[1:-2]) == "5 Half the range of 5 bars [quote]"
    *_, definition, other = words
    commented = FAMILY.replace(
        "def _half(x):", "# Why not.\ndef _half(x: object) -> object:"
    ).replace('"""Half the range of {window}', '"""Half of the whole range of {window}')
    assert dropped(tmp_path / "b", commented)[-2:] == [definition, other]
    for changed in (
        FAMILY.replace("SCALE = 2.0", "SCALE = 3.0"),
        FAMILY.replace("x / SCALE", "x * SCALE"),
        FAMILY.replace("lambda window: window)", "lambda window: window + 1)"),
        FAMILY.replace("rolling_min(window)", "rolling_min(window, min_samples=1)"),
    ):
        definition_now, other_now = dropped(tmp_path / "c", changed)[-2:]
        assert definition_now != definition
        assert other_now == other


def test_selection_keeps_the_order_asked_for() -> None:
    assert [one.name for one in select(["rsi_14", "atr_14"])] == ["rsi_14", "atr_14"]
