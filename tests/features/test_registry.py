"""The registry: what a definition must say, what identifies it, and how a file becomes a family."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import features
from features.registry import (
    add,
    define,
    feature_hashes,
    feature_set_hash,
    registered,
    select,
)

PARTICIPANTS = {
    "basis", "funding", "macro", "open_interest", "sentiment",
    "calendar", "candles", "cross_asset", "garch", "higher_timeframe", "market_factor", "momentum",
    "orderflow", "oscillators", "pumps", "regimes", "spectral", "statistics", "trend", "volatility",
    "volume",
}  # fmt: skip
READ_BY_NAME = {
    "realised_vol_72", "atr_14", "ema_gap_24_96", "btc_correlation_168", "vol_ratio_24_168",
}  # fmt: skip


def test_twenty_one_families_of_more_than_two_hundred_and_fifty_columns_are_registered() -> None:
    everyone = registered()
    assert {feature.family for feature in everyone} == PARTICIPANTS
    assert len(everyone) == 365
    assert {one.name for one in everyone} >= READ_BY_NAME


def test_families_can_be_chosen_and_an_unknown_one_is_refused() -> None:
    assert {one.family for one in registered(("trend", "volume"))} == {"trend", "volume"}
    with pytest.raises(ValueError, match=r"\['trends'\] do not exist; known are basis, calendar"):
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


@pytest.mark.parametrize("lookback", [0, -3, float("inf"), float("nan"), 24.0, True])
def test_a_lookback_that_is_no_whole_number_of_bars_is_refused(lookback) -> None:
    def early() -> pl.Expr:
        """A number [count]"""
        return pl.lit(1)

    for given in (lookback, lambda: lookback):
        with pytest.raises(
            ValueError, match=rf"'early' of test_registry: lookback {lookback!r} is"
        ):
            define(early, lookback=given)


def test_windows_that_repeat_are_refused() -> None:
    def gap(window: int) -> pl.Expr:
        """Mean of {window} bars [ratio]"""
        return pl.col("close").rolling_mean(window)

    with pytest.raises(ValueError, match=r"'gap_3' of test_registry is defined twice"):
        define(gap, windows=(3, 4, 3), lookback=lambda window: window)


def shorter() -> pl.Expr:
    """The first two bars [quote]"""
    return pl.col("close").head(2)


def wordy() -> pl.Expr:
    """A name [text]"""
    return pl.col("symbol") + "!"


def number() -> pl.Expr:
    """A number [count]"""
    return 1.0  # type: ignore[return-value]


def badly_typed() -> pl.Expr:
    """A name times two [count]"""
    return pl.col("symbol").str.to_integer(strict=True)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (shorter, "length"),
        (wordy, "returned String"),
        (number, "must return a pl.Expr, not float"),
        (badly_typed, "failed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_expression_that_gives_no_number_a_bar_is_refused_by_name(broken, reason) -> None:
    with pytest.raises(ValueError, match=rf"'{broken.__name__}' of test_registry.*{reason}"):
        define(broken, lookback=1)


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


def test_every_feature_has_a_hash_of_its_own() -> None:
    hashes = feature_hashes(["rsi_14", "atr_14", "atr_48"])
    assert list(hashes) == ["rsi_14", "atr_14", "atr_48"]
    assert len(set(hashes.values())) == 3
    everyone = feature_hashes()
    assert len(set(everyone.values())) == len(registered())
    assert {name: everyone[name] for name in hashes} == hashes


ENGINE_PROGRAM = """
import json, pathlib, shutil, sys
folder = pathlib.Path(sys.argv[1]) / "features"
for file in sorted(folder.glob("*.py")):
    text = file.read_text()
    for old, new in json.loads(sys.argv[2]).get(file.name, []):
        assert text.count(old) >= 1, (file.name, old)
        text = text.replace(old, new)
    file.write_text(text)
sys.path.insert(0, sys.argv[1])
import features
assert features.__file__.startswith(sys.argv[1])
from features.registry import feature_hashes
print(json.dumps(feature_hashes()))
"""


def edited(folder: Path, edits: dict[str, list[tuple[str, str]]]) -> dict[str, str]:
    """Return the hashes of a copy of the package in which these texts were replaced."""
    shutil.copytree(
        Path(str(features.__file__)).parent,
        folder / "features",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    run = [sys.executable, "-c", ENGINE_PROGRAM, str(folder), json.dumps(edits)]
    done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout)


def changed(hashes: dict[str, str]) -> set[str]:
    return {name for name, value in feature_hashes().items() if hashes[name] != value}


def test_text_of_the_engine_and_code_out_of_reach_may_change(tmp_path: Path) -> None:
    hashes = edited(
        tmp_path,
        {
            "kernels.py": [('"""Return the mean of', '"""Give back the mean of')],
            "grid.py": [
                ("window: int", "window: object"),
                ("def frame(", "# Rows.\n    def frame("),
            ],
            "pieces.py": [("CHUNK_CELLS = 1 << 16", "CHUNK_CELLS = 1 << 15")],
        },
    )
    assert changed(hashes) == set()


def test_a_changed_kernel_changes_the_features_that_reach_it(tmp_path: Path) -> None:
    found = changed(
        edited(tmp_path, {"kernels.py": [("total += abs(", "total += 2 * abs(")]}),
    )
    assert found == {"cci_20"}


def test_a_changed_constant_and_a_changed_member_of_the_grid_change_what_uses_them(
    tmp_path: Path,
) -> None:
    edits = {
        "garch.py": [("[0.03, 0.95]", "[0.04, 0.95]")],
        "grid.py": [("(self.high + self.low + self.close) / 3", "(self.high + self.low) / 2")],
    }
    found = changed(edited(tmp_path, edits))
    assert {"garch_vol_168", "garch_surprise_168", "cci_20", "mfi_14", "volume_z_24"} <= found
    assert {
        "atr_14",
        "log_return_1",
        "hour_sin",
        "hidden_calm_168",
        "long_vol_24_14",
    } & found == set()
    assert "long_volume_z_24_14" in found


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
