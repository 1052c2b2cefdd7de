"""Every feature is listed with what the lake and the trainings say of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.registry import registered
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.feature_list import LARGEST, LAST, features_page, list_features
from pipelines.quality.gate import CheckResult, add
from pipelines.settings import load_settings
from pipelines.tables import IMPORTANCE

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def context(home: Path):
    with Context(load_settings({"home": str(home)}, environ={})) as context:
        yield context


def keep(
    context: Context, training: str, fit: str, as_of: datetime, gain: dict[str, float], **more: Any
) -> None:
    """Make what a fit made of its features stand in the lake, by kind."""
    rows = [
        (training, fit, name, kind, as_of, value)
        for kind, values in {"gain": gain, **more}.items()
        for name, value in values.items()
    ]
    frame = pl.DataFrame(rows, schema=IMPORTANCE.schema, orient="row")
    where = {"training_id": [training], "fit": [fit]}
    tick = timedelta(microseconds=1)
    context.lake.replace(IMPORTANCE, frame, start=as_of - tick, end=as_of, where=where)


def test_an_empty_home_lists_what_the_code_says(context: Context) -> None:
    listed = list_features(context)
    assert [one["name"] for one in listed] == [one.name for one in registered()]
    (atr,) = [one for one in listed if one["name"] == "atr_14"]
    assert atr == {
        "name": "atr_14", "family": "volatility", "unit": "fraction of close", "lookback": 141,
        "scope": "symbol", "doc": atr["doc"], "null_share": None, "first_valid": None,
        "importance": None, "mean_share": None, "mean_rank": None, "stability": None,
    }  # fmt: skip
    assert {one["family"] for one in list_features(context, ["pumps"])} == {"pumps"}
    with pytest.raises(ConfigError, match=r"\['pump'\] do not exist"):
        list_features(context, ["pump"])


def test_the_newest_statistics_and_every_trainings_importance_are_told(
    context: Context,
) -> None:
    for back, share in ((24, 0.5), (0, 0.25)):
        observed = {"rows": 4, "null_share": share, "first_valid": "2024-01-02T00:00Z"}
        row = CheckResult(
            "features", "statistics of atr_14", "binance", "*", AS_OF - back * HOUR,
            json.dumps(observed), "none declared", passed=True,
        )  # fmt: skip
        add(context.lake, [row])
    day = timedelta(days=1)
    keep(context, "bb", "challenger", AS_OF, {"atr_14": 0.2, "rsi_14": 0.8})
    keep(context, "aa", "challenger", AS_OF - day, {"atr_14": 0.1}, shap={"atr_14": 0.03})
    keep(context, "aa", "window 0", AS_OF - day, {"rsi_14": 1.0})
    listed = {one["name"]: one for one in list_features(context)}
    assert (listed["atr_14"]["null_share"], listed["atr_14"]["first_valid"]) == (
        0.25,
        "2024-01-02T00:00Z",
    )
    unmeasured = {"permutation": None, "cluster_permutation": None, "shap": None}
    assert listed["atr_14"]["importance"] == [
        {"training_id": "aa", "as_of": "2024-02-29T00:00Z", "share": 0.1, "rank": 1}
        | unmeasured | {"shap": 0.03},
        {"training_id": "bb", "as_of": "2024-03-01T00:00Z", "share": 0.2, "rank": 2} | unmeasured,
    ]  # fmt: skip
    assert listed["atr_14"]["mean_share"] == pytest.approx(0.15)
    assert listed["atr_14"]["mean_rank"] == 1.5
    assert [one["training_id"] for one in listed["rsi_14"]["importance"]] == ["bb"]
    assert listed["rsi_42"]["importance"] is None


def test_a_history_is_that_of_the_newest_trainings_and_of_how_often_a_feature_was_large(
    context: Context,
) -> None:
    for back in range(LAST + 2):
        # Behind 25 others in every second training; by far the largest in those too old to be told.
        others = {f"x{number}": 0.03 for number in range(LARGEST)}
        share = 1.0 if back >= LAST else 0.5 if back % 2 else 0.01
        as_of = AS_OF - back * timedelta(days=1)
        keep(context, f"t{back}", "challenger", as_of, {"atr_14": share, **others})
    (atr,) = [one for one in list_features(context, ["volatility"]) if one["name"] == "atr_14"]
    assert [one["training_id"] for one in atr["importance"]] == [
        f"t{back}" for back in reversed(range(LAST))
    ]
    assert atr["stability"] == 0.5
    assert atr["mean_rank"] == (1 + LARGEST + 1) / 2
    assert atr["mean_share"] == pytest.approx(0.255)


def test_the_page_of_the_docs_is_what_the_code_says() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "features.md"
    assert page.read_text(encoding="utf-8") == features_page(), "write it anew with `make docs`"
