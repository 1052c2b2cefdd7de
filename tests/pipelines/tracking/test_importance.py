"""A training that selects by clusters, from lake to registry; and the importance that it leaves."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.steps.train import train
from pipelines.tables import KEY
from pipelines.tracking.importance import challengers_importance
from pipelines.tracking.plots import importance_plot
from training.importance import Importance

AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
SMALL = {
    "training__selection__method": "clusters",
    "training__selection__keep": 3,
    "training__selection__max_correlation": 0.5,
    "training__search__trials": 1,
    "training__split__windows": 2,
    "training__importance__rows": 200,
}


@pytest.fixture
def selected(world):
    with world.open(**SMALL) as context:
        yield context, train(context, AS_OF)


def importance_of(context, **equal):
    rows = context.lake.read("importance", end=AS_OF)
    return rows.filter(*(pl.col(name) == value for name, value in equal.items()))


def test_a_training_selects_keeps_its_choice_in_the_model_and_scores_with_it(selected):
    context, report = selected
    run_id, training_id = report.detail["run_id"], report.detail["training_id"]
    scorer = context.registry.load(report.detail["version"])
    assert len(scorer.feature_names) == 5
    assert len(scorer.spec.projection.kept) == 3
    tracking = context.registry.tracking
    gains = importance_of(context, training_id=training_id, fit="challenger", kind="gain")
    assert gains.height == 5
    assert gains["value"].sum() == pytest.approx(1)
    used = gains.filter(pl.col("value") > 0)["feature"]
    assert set(used) <= set(scorer.spec.projection.kept)

    # The file says what the table says; the windows agree on something between nothing and all.
    told = tracking.read_json(run_id, "fit/importance.json")
    assert {name: one["gain"] for name, one in told.items()} == dict(
        gains.select("feature", "value").iter_rows()
    )
    stability = tracking.read_json(run_id, "fit/importance_stability.json")
    assert (stability["rankings"], stability["features"]) == (2, 5)
    logged = tracking.client.get_run(run_id).data.metrics
    assert logged["importance_mean_spearman"] == stability["mean_spearman"]
    for number, window in enumerate(tracking.windows_of(training_id)):
        chosen = tracking.read_json(window.info.run_id, "scorer.json")["projection"]["kept"]
        assert len(chosen) == 3
        rows = importance_of(context, training_id=training_id, fit=f"window {number}")
        assert set(rows["kind"]) == {"gain", "permutation", "cluster_permutation", "shap"}

    # Every score of the windows came through a projection, and all rows of both windows are there.
    scores = context.lake.read("out_of_fold_scores", end=AS_OF)
    assert scores.select(KEY).n_unique() == scores.height == 2 * 4 * 24 * 3

    version = context.lake.version("importance")
    assert not train(context, AS_OF).changed
    assert context.lake.version("importance") == version


def test_the_importance_of_trainings_is_told_by_rank_and_up_to_an_instant(trained):
    world, report = trained
    with world.open() as context:
        found = challengers_importance(context.lake, end=AS_OF, last=10)
        assert found["training_id"].unique().to_list() == [report.detail["training_id"]]
        assert found["rank"].to_list() == [1, 2, 3, 4, 5]
        assert found["gain"].is_sorted(descending=True)
        assert found["shap"].null_count() == 0
        before = challengers_importance(context.lake, end=AS_OF - timedelta(hours=1), last=10)
        assert before.is_empty()


def test_the_plot_has_a_panel_a_kind_for_the_largest_by_gain():
    gain = np.array([0.1, 0.6, 0.3])
    unknown = np.array([math.nan, 0.01, 0.02])
    figure = importance_plot(("a", "b", "c"), Importance(gain, unknown, unknown, gain), most=2)
    panels = figure.axes
    assert [panel.get_title() for panel in panels] == ["Gain", "Permuted", "SHAP"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["c", "b"]
    assert [bar.get_width() for bar in panels[0].patches] == pytest.approx([30, 60])
