"""Runs that are found again, and what cannot be reached."""

import math
import socket
from datetime import UTC, datetime

import pytest

from pipelines.errors import SourceUnavailable
from pipelines.tracking.artifacts import plain_json
from pipelines.tracking.runs import Tracking

AS_OF = datetime(2024, 1, 31, tzinfo=UTC)


def test_opening_a_run_twice_is_opening_it_once(world):
    with world.open() as context:
        tracking = context.registry.tracking
        run = tracking.open_training("aa", AS_OF, {"model": "xgboost"})
        assert tracking.open_training("aa", AS_OF, {}).info.run_id == run.info.run_id
        window = tracking.open_window(run.info.run_id, "aa", 3)
        assert tracking.open_window(run.info.run_id, "aa", 3).info.run_id == window.info.run_id
        assert not tracking.is_finished("aa", 3)
        tracking.finish(window.info.run_id)
        ended = tracking.client.get_run(window.info.run_id).info.end_time
        tracking.finish(window.info.run_id)
        assert tracking.client.get_run(window.info.run_id).info.end_time == ended
        assert tracking.is_finished("aa", 3)
        assert not tracking.is_finished("aa", 4)


def test_logging_the_same_twice_leaves_one_value_and_leaves_out_what_is_not_finite(world):
    with world.open() as context:
        tracking = context.registry.tracking
        run_id = tracking.open_training("aa", AS_OF, {}).info.run_id
        for _ in range(2):
            tracking.log(
                run_id,
                params={"depth": 3},
                metrics={"brier": 0.5, "sharpe": math.nan},
                tags={"planned": "true"},
            )
        run = tracking.client.get_run(run_id)
        assert run.data.metrics == {"brier": 0.5}
        assert run.data.params == {"depth": "3"}
        assert len(tracking.client.get_metric_history(run_id, "brier")) == 1


def test_json_says_null_where_there_is_no_number():
    tree = {"a": [1.0, math.nan], "b": {"c": math.inf, "d": "x"}, "e": (True, None)}
    assert plain_json(tree) == {"a": [1.0, None], "b": {"c": None, "d": "x"}, "e": [True, None]}


def test_a_tracking_server_that_does_not_answer_is_to_be_retried(world, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with world.open(mlflow__tracking_uri=f"http://127.0.0.1:{port}") as context:
        tracking = Tracking(context.settings, context.databases)
        with pytest.raises(SourceUnavailable, match="does not answer"):
            tracking.open_training("aa", AS_OF, {})
