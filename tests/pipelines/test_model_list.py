"""What `hourglass models` tells, to a program and to a person."""

import json
import subprocess
import sys

import pytest

from pipelines.cli import main
from pipelines.model_list import list_models
from training.models import MODELS

HEAVY = ("torch", "lightgbm", "xgboost", "catboost", "sklearn")


def test_every_registered_model_is_listed_with_what_a_search_varies() -> None:
    listed = {one["name"]: one for one in list_models()}
    assert list(listed) == list(MODELS)
    assert listed["logistic"] == {
        "name": "logistic",
        "kind": "linear",
        "context_bars": 1,
        "search_space": {
            "alpha": {"type": "float", "low": 1e-3, "high": 0.1, "log": True},
            "l1_ratio": {"type": "float", "low": 0.0, "high": 1.0, "log": False},
        },
    }
    assert listed["xgboost"]["search_space"]["rounds"] == {
        "type": "int",
        "low": 40,
        "high": 200,
        "step": 20,
    }
    for one in listed.values():
        assert one["search_space"], one["name"]
        assert all(way["low"] < way["high"] for way in one["search_space"].values())
        assert one["kind"] in ("trees", "linear", "sequence", "ensemble")
        assert one["context_bars"] >= 1


def test_the_list_imports_no_library_that_trains() -> None:
    code = (
        "import sys; from pipelines.model_list import list_models; list_models();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_the_command_prints_json_or_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["models", "--json"])
    assert left.value.code == 0
    assert json.loads(capfd.readouterr().out) == list_models()
    with pytest.raises(SystemExit):
        main(["models"])
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "context_bars", "search_space"]
    assert any(line.startswith("logistic") and "alpha 0.001..0.1 log" in line for line in lines)
