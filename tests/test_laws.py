"""The laws that can be read off the source: who may read the clock, and what the core may touch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ("features", "serving", "evaluation", "training")
WALL_CLOCK = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
}
# Modules of the core that read or write a model's own folder: `save(dir)` and `load(dir)`.
MODEL_FILES = {
    "serving/scorer.py",
    "serving/predictors/xgboost.py",
    "training/models/xgboost.py",
}
WORLD = {"os", "socket", "subprocess", "urllib", "logging", "sqlite3", "shutil", "tempfile"}


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_only_one_module_reads_the_wall_clock() -> None:
    readers = {
        name
        for name, tree in sources(*CORE, "pipelines", "dags")
        if any(
            call.removeprefix("datetime.") in WALL_CLOCK or call in WALL_CLOCK
            for call in calls(tree)
        )
    }
    assert readers == {"pipelines/clock.py"}


@pytest.mark.parametrize("package", CORE)
def test_the_core_touches_neither_the_environment_nor_the_disk(package: str) -> None:
    for name, tree in sources(package):
        assert not set(imports(tree)) & WORLD, name
        if name not in MODEL_FILES:
            assert "open" not in set(calls(tree)), name


def test_the_core_never_sees_pickle() -> None:
    for name, tree in sources(*CORE, "pipelines", "dags"):
        assert not set(imports(tree)) & {"pickle", "joblib", "cloudpickle", "dill"}, name


def test_no_feature_label_or_signal_fills_a_gap() -> None:
    fills = ("backward_fill", "bfill", "ffill", "forward_fill", "fillna", "interpolate")
    for name, tree in sources(*CORE):
        filled = [call for call in calls(tree) if call.endswith(fills)]
        assert filled == [], name
