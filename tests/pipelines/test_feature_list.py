"""Every feature is listed with what the lake and the trainings say of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.registry import registered
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.feature_list import features_page, list_features
from pipelines.quality.gate import CheckResult, add
from pipelines.settings import load_settings

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def context(home: Path):
    with Context(load_settings({"home": str(home)}, environ={})) as context:
        yield context


def test_an_empty_home_lists_what_the_code_says(context: Context) -> None:
    listed = list_features(context)
    assert [one["name"] for one in listed] == [one.name for one in registered()]
    (atr,) = [one for one in listed if one["name"] == "atr_14"]
    assert atr == {
        "name": "atr_14", "family": "volatility", "unit": "fraction of close", "lookback": 141,
        "scope": "symbol", "doc": atr["doc"], "null_share": None, "first_valid": None,
        "importance": None,
    }  # fmt: skip
    assert {one["family"] for one in list_features(context, ["pumps"])} == {"pumps"}
    with pytest.raises(ConfigError, match=r"\['pump'\] do not exist"):
        list_features(context, ["pump"])


def test_the_newest_statistics_and_every_trainings_importance_are_told(
    context: Context, home: Path
) -> None:
    for back, share in ((24, 0.5), (0, 0.25)):
        observed = {"rows": 4, "null_share": share, "first_valid": "2024-01-02T00:00Z"}
        row = CheckResult(
            "features", "statistics of atr_14", "binance", "*", AS_OF - back * HOUR,
            json.dumps(observed), "none declared", passed=True,
        )  # fmt: skip
        add(context.lake, [row])
    for run, as_of, shares in (
        ("bb", "2024-02-02T00:00Z", {"atr_14": 0.2, "rsi_14": 0.8}),
        ("aa", "2024-02-01T00:00Z", {"atr_14": 0.1}),
    ):
        folder = home / "artifacts" / run / "artifacts"
        (folder / "fit").mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps({"as_of": as_of}))
        (folder / "fit" / "importance.json").write_text(json.dumps(shares))
    listed = {one["name"]: one for one in list_features(context)}
    assert (listed["atr_14"]["null_share"], listed["atr_14"]["first_valid"]) == (
        0.25,
        "2024-01-02T00:00Z",
    )
    assert listed["atr_14"]["importance"] == [
        {"run": "aa", "as_of": "2024-02-01T00:00Z", "share": 0.1},
        {"run": "bb", "as_of": "2024-02-02T00:00Z", "share": 0.2},
    ]
    assert [run["run"] for run in listed["rsi_14"]["importance"]] == ["bb"]
    assert listed["rsi_42"]["importance"] is None


def test_the_page_of_the_docs_is_what_the_code_says() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "features.md"
    assert page.read_text(encoding="utf-8") == features_page(), "write it anew with `make docs`"
