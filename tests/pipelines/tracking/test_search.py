"""The Optuna study: durable, and the same after a kill as without one."""

from collections.abc import Iterator

import optuna
import pytest

from pipelines import database
from pipelines.tracking.search import run_search
from training.config import SearchConfig
from training.tuning import Pruned

CONFIG = SearchConfig(trials=12, seed=3)


@pytest.fixture
def url(settings) -> Iterator[str]:
    return database.open_databases(settings).optuna


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_int("y", 1, 9)
    trial.report(-abs(x), 0)
    if trial.should_prune():
        raise Pruned
    return -(x**2) - 0.01 * y


def stops_at(place):
    seen = []

    def wrapped(trial):
        seen.append(trial)
        if len(seen) == place:
            raise KeyboardInterrupt
        return objective(trial)

    return wrapped


def test_a_stopped_search_goes_on_to_the_same_end(url):
    undisturbed = run_search(url, "undisturbed", CONFIG, objective)
    for place in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            run_search(url, "disturbed", CONFIG, stops_at(place))
    disturbed = run_search(url, "disturbed", CONFIG, objective)
    assert disturbed == undisturbed
    assert len(undisturbed.trials) == 12
    assert undisturbed.value == max(
        t["value"] for t in undisturbed.trials if t["value"] is not None
    )
    assert {t["state"] for t in undisturbed.trials} == {"complete", "pruned"}


def test_a_finished_search_runs_no_further_trial(url):
    first = run_search(url, "once", CONFIG, objective)
    assert run_search(url, "once", CONFIG, stops_at(1)) == first


def test_a_trial_left_running_by_a_kill_is_closed_and_its_place_taken_again(url):
    undisturbed = run_search(url, "undisturbed", CONFIG, objective)
    storage = optuna.storages.RDBStorage(url)
    ghostly = optuna.create_study(study_name="ghostly", storage=storage, direction="maximize")
    ghostly.ask()
    assert run_search(url, "ghostly", CONFIG, objective) == undisturbed
    states = [trial.state.name for trial in ghostly.trials]
    storage.remove_session()
    storage.engine.dispose()
    assert states[0] == "FAIL"
    assert "RUNNING" not in states


def test_progress_counts_trials(url):
    told = []
    run_search(url, "told", CONFIG, objective, progress=lambda *words: told.append(words))
    assert told[0] == (1, 12, "search: trial 1 of 12")
    assert told[-1] == (12, 12, "search: trial 12 of 12")


def test_no_trial_is_started_after_the_time_is_up(url):
    brief = CONFIG.model_copy(update={"timeout_seconds": 1e-9})
    assert len(run_search(url, "brief", brief, objective).trials) == 1
