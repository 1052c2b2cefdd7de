"""A training from lake to registry and ledger: what it leaves, twice, and after an interruption."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from pipelines.cli.run_steps import app
from pipelines.errors import ConfigError, ContractViolation
from pipelines.steps import fit_challenger as fit_module
from pipelines.steps import run_window as window_module
from pipelines.steps import search as search_module
from pipelines.steps.choose_params import choose_params
from pipelines.steps.fit_challenger import fit_challenger
from pipelines.steps.judge import judge
from pipelines.steps.plan_windows import plan_windows
from pipelines.steps.register import register
from pipelines.steps.run_window import run_window
from pipelines.steps.search import search, search_objective
from pipelines.steps.train import train
from pipelines.tables import BARS, KEY, features_table
from pipelines.tracking import checks as checks_module
from pipelines.tracking.checks import path_sharpes
from pipelines.tracking.plan import (
    Inputs,
    current_versions,
    feature_set_of,
    load_plan,
    read_inputs,
    read_panel,
    training_id,
)
from training.errors import TooLittleData
from training.tuning import evaluate_trial

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
FILES = {
    "card.md",
    "drift/reference.safetensors",
    "environment.json",
    "evidence.json",
    "fit/importance.json",
    "fit/importance_stability.json",
    "fit/split_audit.json",
    "gates.json",
    "plan.json",
    "plots/calibration.png",
    "plots/confidence.png",
    "plots/degradation.png",
    "plots/equity.png",
    "plots/importance.png",
    "plots/returns.png",
    "plots/search.png",
    "plots/windows.png",
    "search/chosen.json",
    "search/returns.parquet",
    "search/split_audit.json",
    "search/trials.json",
    "settings.json",
    "waterfall.json",
    "windows.json",
}


def files_of(client, run_id, folder=None):
    found = set()
    for item in client.list_artifacts(run_id, folder):
        found |= files_of(client, run_id, item.path) if item.is_dir else {item.path}
    return found


def test_the_first_training_gives_a_champion_with_a_book_that_opens_at_as_of(trained):
    world, report = trained
    assert report.changed
    assert report.detail["version"] == "1"
    assert report.detail["champion"] == "1"
    with world.open() as context:
        (book,) = context.ledger.books()
        assert (book.name, book.model_version, book.opened_at) == ("model-1", "1", AS_OF)
        (promotion,) = context.ledger.promotions()
        assert promotion.effective_from == AS_OF + HOUR
        assert "first model" in promotion.reason
        assert context.ledger.champion_at(AS_OF) is None
        assert context.ledger.champion_at(AS_OF + HOUR) == "1"


def test_the_parent_run_holds_what_a_person_needs_to_choose(trained):
    world, report = trained
    with world.open() as context:
        client = context.registry.tracking.client
        run = client.get_run(report.detail["run_id"])
        assert run.info.status == "FINISHED"
        assert files_of(client, run.info.run_id) == FILES
        assert run.data.tags["model_version"] == "1"
        assert run.data.tags["feature_set"] == "set-1"
        assert run.data.tags["gate.no_overlap"] == "passed"
        assert len(run.data.tags["mlflow.source.git.commit"]) >= 7
        assert {"label.horizon_bars", "split.windows", "seed", "model.rounds"} <= set(
            run.data.params
        )
        assert run.data.metrics["overlaps"] == 0
        assert run.data.metrics["search_trials"] == 4
        assert {"total_return", "max_drawdown", "log_loss", "buy_and_hold_sharpe"} <= set(
            run.data.metrics
        )
        sources = [item.dataset.source for item in run.inputs.dataset_inputs]
        assert any('"version": 0' in source and "/lake/bars" in source for source in sources)


def test_every_window_is_a_finished_child_with_its_audit(trained):
    world, report = trained
    with world.open() as context:
        tracking = context.registry.tracking
        windows = tracking.windows_of(report.detail["training_id"])
        assert [run.data.tags["window"] for run in windows] == ["0", "1"]
        for run in windows:
            assert run.data.tags["mlflow.parentRunId"] == report.detail["run_id"]
            audits = tracking.read_json(run.info.run_id, "split_audit.json")
            assert [audit["overlaps"] for audit in audits] == [0, 0, 0]
            assert audits[-1]["gap_bars_before"] >= 1
        assert windows[1].data.params["test_end"] == "2024-01-30T12:00Z"


def test_out_of_fold_scores_cover_the_windows_and_nothing_else(trained):
    world, report = trained
    with world.open() as context:
        scores = context.lake.read("out_of_fold_scores", end=AS_OF)
    assert scores["known_at"].min() == datetime(2024, 1, 22, 13, tzinfo=UTC)
    assert scores["known_at"].max() == datetime(2024, 1, 30, 12, tzinfo=UTC)
    assert scores.height == 2 * 4 * 24 * 3
    assert scores.group_by("window").len()["len"].to_list() == [288, 288]
    assert scores["training_id"].unique().to_list() == [report.detail["training_id"]]


def test_training_twice_changes_nothing_even_when_later_bars_came(trained, state):
    world, report = trained
    with world.open() as context:
        before = state(context)
        again = train(context, AS_OF)
        assert not again.changed
        assert again.detail["version"] == "1"
        assert again.detail["training_id"] == report.detail["training_id"]
        assert state(context) == before


def test_progress_is_told_from_nothing_to_all(trained):
    world, _ = trained
    told = []
    with world.open() as context:
        train(context, AS_OF, progress=lambda done, total, text: told.append((done, total, text)))
    assert told[-1] == (9, 9, "register")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_undisturbed_one(world, trained, state, monkeypatch):
    """Stop once in the search and after every step; a step that is run again finds its place."""
    calls = []

    def stops_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        return evaluate_trial(*arguments)

    monkeypatch.setattr(search_module, "evaluate_trial", stops_at_the_third)
    with world.open() as context:
        plan = plan_windows(context, AS_OF)
        identity = plan.detail["training_id"]
        assert not plan_windows(context, AS_OF).changed
    with world.open() as context, pytest.raises(Killed):
        search(context, AS_OF, identity)
    with world.open() as context:
        assert search(context, AS_OF, identity).detail["ran"] == 2
        assert len(calls) == 5, "two trials stood, one was lost and taken again"
        assert not search(context, AS_OF, identity).changed
    with world.open() as context:
        assert choose_params(context, AS_OF, identity).changed
        assert not choose_params(context, AS_OF, identity).changed
    for window in plan.detail["windows"]:
        with world.open() as context:
            run_window(context, AS_OF, identity, window)
            assert not run_window(context, AS_OF, identity, window).changed
    with (
        world.open() as context,
        pytest.raises(ContractViolation, match="run fit-challenger for it"),
    ):
        judge(context, AS_OF, identity)
    for step in (fit_challenger, judge, register):
        with world.open() as context:
            assert step(context, AS_OF, identity).changed
            assert not step(context, AS_OF, identity).changed
    with world.open() as context:
        disturbed = state(context)
    with trained[0].open() as context:
        assert state(context) == disturbed


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    ("module", "name", "ask"),
    [
        (search_module, "search_folds", lambda c, i, p, plan: search_objective(c, plan)),
        (fit_module, "fit_final", lambda c, i, p, plan: fit_module._fit(p, plan)),
        (checks_module, "path_expectations", lambda c, i, p, plan: path_sharpes(c, plan, i, p)),
    ],
    ids=["search", "challenger", "paths"],
)
def test_too_little_data_is_refused_with_its_cause_and_a_bug_is_a_bug(
    module, name, ask, trained, monkeypatch
):
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        evidence = plan.training.evidence.model_copy(update={"combinatorial_groups": 4})
        plan = replace(plan, training=plan.training.model_copy(update={"evidence": evidence}))
        given = (context, *read_panel(context, plan), plan)
        monkeypatch.setattr(module, name, failing(TooLittleData("a fold has no rows")))
        with pytest.raises(ContractViolation, match="a fold has no rows") as refused:
            ask(*given)
        assert isinstance(refused.value.__cause__, TooLittleData)
        monkeypatch.setattr(module, name, failing(np.linalg.LinAlgError("singular")))
        with pytest.raises(np.linalg.LinAlgError):
            ask(*given)


def test_steps_before_their_turn_are_refused_with_the_step_to_run(world, monkeypatch):
    with world.open() as context:
        with pytest.raises(ContractViolation, match="was not planned"):
            run_window(context, AS_OF, "0123456789abcdef", 0)
        identity = plan_windows(context, AS_OF).detail["training_id"]
        with pytest.raises(ContractViolation, match=r"was not searched; run search and then"):
            run_window(context, AS_OF, identity, 0)
        with pytest.raises(ContractViolation, match="finished 0 of 4 trials; 0, 1, 2, 3 of the"):
            choose_params(context, AS_OF, identity)
        search(context, AS_OF, identity)
        choose_params(context, AS_OF, identity)
        with pytest.raises(ConfigError, match="has no window 7; use 0 to 1"):
            run_window(context, AS_OF, identity, 7)
        monkeypatch.setattr(window_module, "fit_window", failing(TooLittleData("no rows")))
        with pytest.raises(ContractViolation, match="window 0: no rows; it was not") as refused:
            run_window(context, AS_OF, identity, 0)
        assert isinstance(refused.value.__cause__, TooLittleData)
        with pytest.raises(
            ContractViolation, match=r"window 0, 1 has not finished; run run-window"
        ):
            judge(context, AS_OF, identity)
        with pytest.raises(ContractViolation, match="was not judged"):
            register(context, AS_OF, identity)


def test_a_newer_training_closes_the_run_that_an_older_one_left(world):
    with world.open() as context:
        older = plan_windows(context, AS_OF - HOUR).detail
        newer = plan_windows(context, AS_OF).detail
        client = context.registry.tracking.client
        ghost = client.get_run(older["run_id"])
        assert ghost.info.status == "KILLED"
        assert ghost.data.tags["closed_by"] == newer["training_id"]
        assert client.get_run(newer["run_id"]).info.status == "RUNNING"
        assert plan_windows(context, AS_OF - HOUR).detail["run_id"] == older["run_id"]
        assert client.get_run(older["run_id"]).info.status == "RUNNING"


def identity_of(context, **versions):
    pinned = {**current_versions(context), **versions}
    inputs = read_inputs(context, AS_OF, pinned, context.settings.training)
    return training_id(context.settings, AS_OF, feature_set_of(context), inputs.digest())


def test_other_settings_or_other_data_are_another_training(world):
    with world.open() as context:
        standing = identity_of(context)
    with world.open(training__search__seed=8) as context:
        assert identity_of(context) != standing
    with world.open(training__threads=2) as context:
        assert identity_of(context) == standing
    with world.open() as context:
        bars = context.lake.read("bars", end=AS_OF)
        stamped = bars.with_columns(ingested_at=pl.col("ingested_at") + HOUR)
        assert Inputs(stamped, bars).digest() == Inputs(bars, bars).digest()
        restated = bars.with_columns(volume=pl.col("volume") * 2)
        context.lake.replace(BARS, restated, start=AS_OF - timedelta(days=99), end=AS_OF)
        assert identity_of(context) != standing
        assert identity_of(context, bars=0) == standing, "the old version is the old training"


def test_a_null_is_not_a_number_and_rows_count_in_their_order():
    ones = pl.DataFrame({"a": [1.0, 2.0], "b": [1, None]})
    digest = Inputs(ones, ones).digest()
    for other in (ones.reverse(), ones.fill_null(0), ones.rename({"a": "c"}), ones.head(1)):
        assert Inputs(ones, other).digest() != digest


def test_what_cannot_be_trained_is_refused_and_leaves_no_run(world):
    with world.open() as context:
        with pytest.raises(ContractViolation, match="history starts 2024-01-01"):
            train(context, AS_OF - timedelta(days=20))
        with pytest.raises(ConfigError, match="off the 1h grid"):
            train(context, AS_OF + timedelta(minutes=5))
        with pytest.raises(ContractViolation, match="features: no rows of binance"):
            train(context, datetime(2023, 6, 1, tzinfo=UTC))
        with (
            world.open(training__model="prophet") as other,
            pytest.raises(ConfigError, match="model 'prophet' is not known"),
        ):
            train(other, AS_OF)
        features = context.lake.read("features", end=AS_OF).drop("btc_correlation_168")
        fewer = features_table([name for name in features.columns if name not in KEY])
        context.lake.replace(fewer, features, start=datetime(2024, 1, 1, tzinfo=UTC), end=AS_OF)
        context.lake.set_metadata("features", {"feature_set": "set-1"})
        with pytest.raises(ConfigError, match="no btc_correlation_168; every book") as refused:
            train(context, AS_OF)
        assert "add cross_asset to features.families" in str(refused.value.remedy)
        tracking = context.registry.tracking
        assert tracking.client.search_runs([tracking.experiment_id]) == []


def test_an_empty_lake_is_refused(settings):
    from pipelines.context import Context

    with (
        Context(settings) as context,
        pytest.raises(ContractViolation, match="the lake has no bars and no features yet"),
    ):
        train(context, AS_OF)


def test_the_command_takes_table_versions_and_refuses_what_is_none(tmp_path):
    words = ["train", "--home", str(tmp_path), "--as-of", "2024-01-31T00:00Z", "--json"]
    refused = CliRunner().invoke(app, [*words, "--at-version", "scores=1"])
    assert isinstance(refused.exception, ConfigError)
    assert "'scores=1' does not name a version of bars, features or funding" in str(
        refused.exception
    )
