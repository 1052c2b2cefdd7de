"""A logged training, done again in memory."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from pipelines import reproduction
from pipelines.cli.run_steps import app
from pipelines.errors import ConfigError, ContractViolation
from pipelines.reproduction import Reproduction, reproduce
from pipelines.steps.plan_windows import plan_windows
from pipelines.tracking.environment import differences, environment

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)


@contextmanager
def another_plan(context, run_id, change):
    """Let the run's plan say something else for a while; other tests share the run."""
    tracking = context.registry.tracking
    plan = tracking.read_json(run_id, "plan.json")
    changed = tracking.read_json(run_id, "plan.json")
    change(changed)
    tracking.write_json(run_id, "plan.json", changed)
    try:
        yield
    finally:
        tracking.write_json(run_id, "plan.json", plan)


def test_a_training_is_reproduced_to_the_last_bit_and_nothing_is_written(trained, state):
    world, report = trained
    told = []
    # Other settings of today do not matter: the run's own are taken.
    with world.open(training__search__seed=99, books__initial_cash=5_000) as context:
        before = state(context)
        found = reproduce(
            context, report.detail["run_id"], lambda done, total, _: told.append((done, total))
        )
        assert state(context) == before
    assert found.equal, [row for row in found.rows if not row["equal"]]
    assert found.differs == []
    names = [row["what"] for row in found.rows]
    assert names[:3] == ["data", "value of the best trial", "window 0: rows"]
    assert "window 1: largest difference of a score" in names
    assert names[-1] == "files of the final model"
    assert told[-1] == (5, 5)


def test_another_seed_shows_in_every_number_that_depends_on_it(trained):
    world, report = trained

    def other_seed(plan):
        plan["training"]["search"]["seed"] += 1
        plan["training"]["model_params"]["subsample"] = 0.5

    with (
        world.open() as context,
        another_plan(context, report.detail["run_id"], other_seed),
    ):
        found = reproduce(context, report.detail["run_id"])
    unequal = {row["what"] for row in found.rows if not row["equal"]}
    assert not found.equal
    assert {"window 0: largest difference of a score", "files of the final model"} <= unequal
    assert "data" not in unequal


def test_what_cannot_be_reproduced_is_refused_with_the_reason(trained):
    world, report = trained
    with world.open() as context:
        with pytest.raises(ConfigError, match="has no run '0123456789abcdef'; take the id"):
            reproduce(context, "0123456789abcdef")
        tracking = context.registry.tracking
        stranger = tracking.client.create_run(tracking.experiment_id).info.run_id
        with pytest.raises(ConfigError, match="is not one of a training"):
            reproduce(context, stranger)
        tracking.client.delete_run(stranger)

        def gone(plan):
            plan["versions"]["bars"] = 99

        with (
            another_plan(context, report.detail["run_id"], gone),
            pytest.raises(
                ContractViolation,
                match=r"read bars 99, features 1, which cannot be read any more.*retention_days",
            ),
        ):
            reproduce(context, report.detail["run_id"])


def test_an_unfinished_training_is_not_reproduced(world):
    with world.open() as context:
        planned = plan_windows(context, AS_OF).detail["run_id"]
        with pytest.raises(ContractViolation, match="was not searched"):
            reproduce(context, planned)


def test_other_libraries_are_named_one_by_one():
    then = {"numpy": "2.4", "xgboost-cpu": "3.1.0", "python": "3.11.1"}
    now = {"numpy": "2.4", "xgboost-cpu": "3.2.0", "torch": "2.13.0", "python": "3.11.1"}
    assert differences(then, now) == [
        "torch was not there and is 2.13.0 now",
        "xgboost-cpu was 3.1.0 and is 3.2.0 now",
    ]
    assert {"python", "machine", "numpy", "xgboost-cpu", "mlflow"} <= environment().keys()


@pytest.mark.parametrize(("now", "code"), [(0.5, 0), (0.25, 3)])
def test_the_command_leaves_with_three_if_a_number_differs(tmp_path, monkeypatch, now, code):
    found = Reproduction("r", "t", "2024-01-31T00:00Z")
    found.compare("window 0: log_loss", 0.5, now)
    monkeypatch.setattr(reproduction, "reproduce", lambda *_: found)
    words = ["train", "--home", str(tmp_path), "--reproduce", "r"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code
    assert ("every number is equal" in done.output) == (code == 0)
    assert "window 0: log_loss" in done.output
