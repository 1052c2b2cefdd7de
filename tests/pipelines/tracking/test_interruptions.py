"""What a training leaves when the world fails in the middle of it, and how it goes on."""

import errno
from datetime import UTC, datetime, timedelta

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking import MlflowClient

from pipelines.errors import ConfigError, SourceUnavailable, policy_error
from pipelines.steps.choose_params import choose_params
from pipelines.steps.plan_windows import plan_windows
from pipelines.steps.search import search
from pipelines.steps.train import train
from pipelines.tracking.plan import load_plan
from pipelines.tracking.study import Study

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
# One of everything, for tests that are not about how much there is.
SHORT = {"training__split__windows": 1, "training__search__trials": 1}


def standing(context):
    return [(v.version, v.training_id) for v in context.registry.versions()]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "a", None, "b")


def test_a_full_disk_is_named_with_its_remedy_and_the_step_goes_on_after_it(world, monkeypatch):
    with world.open(**SHORT) as context:
        identity = plan_windows(context, AS_OF).detail["training_id"]
        search(context, AS_OF, identity)
        write = LocalArtifactRepository.log_artifact

        def full_at_the_choice(repository, file, folder=None):
            return full() if "chosen" in file else write(repository, file, folder)

        with monkeypatch.context() as patch:
            patch.setattr(LocalArtifactRepository, "log_artifact", full_at_the_choice)
            with pytest.raises(SourceUnavailable) as refused:
                choose_params(context, AS_OF, identity)
        assert "cannot write search/chosen.json to the artifacts at" in refused.value.message
        assert "No space left on device" in refused.value.message
        assert refused.value.remedy.startswith("free space")
        assert choose_params(context, AS_OF, identity).changed
        assert load_plan(context, identity)[1].params["rounds"] == 20


@pytest.mark.slow
@pytest.mark.long
def test_nothing_is_registered_by_halves(world, monkeypatch):
    """The disk fills up while the model is logged; then MLflow goes away while it is registered."""

    def down(*_, **__):
        lost = ConnectionError(errno.ECONNREFUSED, "Connection refused")
        raise MlflowException("API request failed with error code 503") from lost

    with world.open(**SHORT) as context:
        with monkeypatch.context() as patch:
            patch.setattr(LocalArtifactRepository, "log_artifacts", full)
            with pytest.raises(SourceUnavailable, match="cannot write the model to the artifacts"):
                train(context, AS_OF)
        assert standing(context) == []
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "create_model_version", down)
            with pytest.raises(MlflowException) as lost:
                train(context, AS_OF)
        assert isinstance(policy_error(lost.value), SourceUnavailable), "it is tried again"
        assert standing(context) == []
        assert context.ledger.books() == []
        report = train(context, AS_OF).detail
        assert standing(context) == [("1", report["training_id"])]
        assert [book.model_version for book in context.ledger.books()] == ["1"]
        models = context.registry._models(report["training_id"])
        assert len(models) == 1, "the half-logged model is gone"


def test_a_training_begins_where_an_earlier_one_of_the_same_model_ended(trained):
    world, report = trained
    with world.open() as context:
        _, before = load_plan(context, report.detail["training_id"])
    assert before.warm_start is None, "there was none before it"
    with world.open(training__search__seed=11) as context:
        identity = plan_windows(context, AS_OF + HOUR).detail["training_id"]
        _, plan = _unsearched(context, identity)
        assert plan.warm_start["version"] == "1"
        assert plan.warm_start["training_id"] == before.training_id
        searched = {"max_depth", "subsample", "colsample_bytree", "reg_lambda"}
        assert searched <= set(plan.warm_start["params"])
        search(context, AS_OF + HOUR, identity)
        with Study(context.databases.optuna, identity) as study:
            first = study.finished()[0].params
        assert {name: first[name] for name in searched} == {
            name: before.params[name] for name in searched
        }


def test_a_training_does_not_learn_from_what_saw_its_windows_or_comes_after_it(trained):
    world, _ = trained
    for overrides in (
        {"training__search__seed": 12},
        {"training__model": "lightgbm", "training__model_params": {}},
        {"training__search__warm_start": False},
        # Its windows begin before the search of the training before it had ended.
        {"training__split__windows": 3},
        {"training__split__holdout_days": 3},
    ):
        instant = AS_OF if "training__search__seed" in overrides else AS_OF + HOUR
        with world.open(**overrides) as context:
            identity = plan_windows(context, instant).detail["training_id"]
            assert _unsearched(context, identity)[1].warm_start is None, overrides


def _unsearched(context, identity):
    from pipelines.tracking.plan import load_unsearched

    return load_unsearched(context, identity)


def test_a_grid_the_model_cannot_walk_is_refused_before_anything_is_planned(world):
    with (
        world.open(training__search__grid={"max_deep": [2]}) as context,
        pytest.raises(ConfigError, match=r"search.grid.max_deep: 2 cannot .* it is not searched"),
    ):
        plan_windows(context, AS_OF)
    with (
        world.open(training__search__grid={"max_depth": [2, 99]}) as context,
        pytest.raises(ConfigError, match=r"search.grid.max_depth: 99 cannot be tried by xgboost"),
    ):
        plan_windows(context, AS_OF)
    with pytest.raises(ConfigError, match=r"has 5 combinations and search.trials is 4"):
        world.open(training__search__grid={"max_depth": [2, 3, 4, 5, 6]})
    with world.open() as context:
        tracking = context.registry.tracking
        assert tracking.client.search_runs([tracking.experiment_id]) == []


@pytest.mark.stack
@pytest.mark.long
def test_two_workers_of_one_training_end_where_one_does(world, trained):
    """The second is a process of its own; the whole training is the one that one worker gave."""
    with world.open(training__search__workers=2) as context:
        report = train(context, AS_OF)
        (version,) = context.registry.versions()
    with trained[0].open() as context:
        alone = context.registry.version_info("1")
    assert report.detail["training_id"] == trained[1].detail["training_id"]
    assert version.scorer_hash == alone.scorer_hash
