"""The Optuna study: durable, and the same from one worker or several, killed or not."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import make_url

from pipelines.errors import ContractViolation
from pipelines.tracking.proposals import open_places, propose
from pipelines.tracking.search import result_of, run_search
from pipelines.tracking.study import Study
from training.config import SearchConfig
from training.tuning import Pruned

CONFIG = SearchConfig(trials=12, seed=3, batch=4)


@pytest.fixture(scope="module")
def url(postgres: str) -> str:
    """One database for all studies of these tests: making and dropping one takes seconds."""
    server = make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE studies_of_tests"))
    return server.set(database="studies_of_tests").render_as_string(hide_password=False)


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_int("y", 1, 9)
    values = [-(x**2) - 0.01 * y - 0.001 * fold for fold in range(4)]
    for fold, value in enumerate(values):
        trial.report(value, fold)
        if trial.should_prune():
            raise Pruned
    return sum(values) / 4


def stops_at(place):
    seen = []

    def wrapped(trial):
        seen.append(trial)
        if len(seen) == place:
            raise KeyboardInterrupt
        return objective(trial)

    return wrapped


def finish(url, name, config=CONFIG, objective=objective, **options):
    with Study(url, name) as study:
        run_search(study, config, objective, **options)
        return result_of(study, config)


def test_a_stopped_search_goes_on_to_the_same_end(url):
    undisturbed = finish(url, "undisturbed")
    for place in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            finish(url, "disturbed", objective=stops_at(place))
    assert finish(url, "disturbed") == undisturbed
    assert len(undisturbed.trials) == 12
    complete = [t["value"] for t in undisturbed.trials if t["state"] == "complete"]
    assert undisturbed.value == max(complete)
    assert undisturbed.params == undisturbed.trials[undisturbed.place]["params"]
    assert {t["state"] for t in undisturbed.trials} == {"complete", "pruned"}


def test_a_finished_search_runs_no_further_trial(url):
    first = finish(url, "once")
    with Study(url, "once") as study:
        assert run_search(study, CONFIG, stops_at(1)) == 0
        assert result_of(study, CONFIG) == first


def test_the_number_of_a_trial_decides_nothing_only_its_place(url):
    """Two workers finish in any order; here the last place of every batch comes first."""
    expected = finish(url, "in_order")
    with Study(url, "backwards") as study:
        while places := open_places(finished := study.finished(), CONFIG):
            trial = propose(places[-1], finished, CONFIG, None)
            try:
                done = trial.study.tell(trial, objective(trial))
            except Pruned:
                done = trial.study.tell(trial, state=TrialState.PRUNED)
            study.record(places[-1], done, 0.1)
        assert result_of(study, CONFIG) == expected


def work(url: str, folder: str, hang: bool) -> None:
    """One worker of its own process; tells which trial it has begun, and may never end it."""

    def slow(trial):
        value = trial.suggest_float("x", -1, 1)
        (Path(folder) / f"{os.getpid()}-{value}").touch()
        time.sleep(3600 if hang else 0.01)
        return objective(trial)

    with Study(url, "shared") as study:
        run_search(study, CONFIG, slow)


def begun(folder):
    return {path.name.split("-", 1)[1] for path in folder.iterdir()}


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.stack
def test_two_workers_one_of_them_killed_find_what_one_finds(url, tmp_path):
    alone = finish(url, "alone")
    Study(url, "shared").close()
    fork = multiprocessing.get_context("fork")
    doomed = fork.Process(target=work, args=(url, str(tmp_path), True))
    doomed.start()
    until(lambda: begun(tmp_path))
    (lost,) = begun(tmp_path)
    other = fork.Process(target=work, args=(url, str(tmp_path), False))
    other.start()
    until(lambda: len(begun(tmp_path)) == CONFIG.batch)
    time.sleep(0.3)
    with Study(url, "shared") as study:
        waiting = sorted(study.finished())
    assert waiting == [1, 2, 3], "a slow worker is not taken for dead: its place is waited for"
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.join()
    other.join(60)
    assert other.exitcode == 0
    with Study(url, "shared") as study:
        assert result_of(study, CONFIG) == alone
        assert len(study._study.get_trials(deepcopy=False)) == 12, "none lost, none repeated"
    assert (tmp_path / f"{other.pid}-{lost}").exists(), "the lost trial was taken over"


def test_a_worker_that_lost_its_session_records_nothing(url):
    def cut_off(trial):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        with engine.connect() as connection:
            connection.execute(
                sa.text(
                    f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"
                )
            )
        return objective(trial)

    with pytest.raises(sa.exc.OperationalError):
        finish(url, "cut", objective=cut_off)
    with Study(url, "cut") as study:
        assert study.finished() == {}
        with study.claim([0, 1]) as place:
            assert place == 0, "the place is free again"


def test_a_search_that_is_not_over_chooses_nothing(url):
    with pytest.raises(KeyboardInterrupt):
        finish(url, "half", objective=stops_at(7))
    with (
        Study(url, "half") as study,
        pytest.raises(
            ContractViolation, match="finished 6 of 12 trials; 6, 7 of the running batch"
        ),
    ):
        result_of(study, CONFIG)


def test_progress_counts_trials_whoever_ran_them_and_names_the_best(url):
    told = []
    finish(url, "told", progress=lambda *words: told.append(words))
    assert told[0] == (0, 12, "search: trial 0 of 12")
    assert told[-1][:2] == (12, 12)
    assert told[-1][2].startswith("search: trial 12 of 12, best -0.0")


def test_the_time_of_a_study_is_spent_over_all_its_runs(url):
    """A trial is begun only if it would end in time, by what the trials before its batch took."""
    config = CONFIG.model_copy(update={"timeout_seconds": 10.0})
    with Study(url, "brief") as study:
        assert open_places({}, config) == [0, 1, 2, 3], "nobody knows yet what a trial takes"
        for place in range(4):
            trial = propose(place, {}, config, None)
            study.record(place, trial.study.tell(trial, objective(trial)), 1.5)
        finished = study.finished()
    assert open_places(finished, config) == [4, 5], "6 s are spent, two more of 1.5 s fit in 10 s"
    two = config.model_copy(update={"workers": 2})
    assert open_places(finished, two) == [4, 5, 6, 7], "two workers are done sooner"
    spent = config.model_copy(update={"timeout_seconds": 7.0})
    with Study(url, "brief") as study:
        assert run_search(study, spent, stops_at(1)) == 0
        assert len(result_of(study, spent).trials) == 4


def test_the_grid_is_walked_and_the_sampler_suggests_the_rest(url):
    config = CONFIG.model_copy(update={"grid": {"y": (2, 5, 8)}})
    tried = [trial["params"] for trial in finish(url, "grid", config).trials]
    assert [params["y"] for params in tried] == [2, 5, 8] * 4
    assert len({params["x"] for params in tried}) == 12


def test_a_warm_start_is_tried_first_and_the_grid_wins_over_it(url):
    warm = {"x": 0.125, "y": 4}
    trials = finish(url, "warm", warm_start=warm).trials
    assert trials[0]["params"] == warm
    assert trials[1]["params"] == finish(url, "cold").trials[1]["params"]
    config = CONFIG.model_copy(update={"grid": {"y": (2,)}})
    trials = finish(url, "warm_grid", config, warm_start=warm).trials
    assert trials[0]["params"] == {"x": 0.125, "y": 2}


@pytest.mark.parametrize("pruner", ["wilcoxon", "halving", "none"])
def test_pruners_spare_folds_and_repeat_themselves(url, pruner):
    config = CONFIG.model_copy(update={"pruner": pruner})
    result = finish(url, pruner, config)
    folds = [len(trial["folds"]) for trial in result.trials]
    assert result == finish(url, f"{pruner}_again", config)
    assert (sum(folds) < 48) == (pruner != "none")
    first = folds[:4]
    assert first == [4, 4, 4, 4] or pruner == "halving", "nothing to compare the first batch with"


def test_wilcoxon_gives_up_after_two_folds_that_are_worse_and_spares_what_is_mixed():
    best = create_trial(
        value=0.0,
        params={},
        distributions={},
        user_attrs={"place": 0, "seconds": 1.0},
        intermediate_values={0: 0.0, 1: 0.0, 2: 0.0},
        state=TrialState.COMPLETE,
    )
    config = CONFIG.model_copy(update={"batch": 1})
    for values, given_up in (([-1, -1], True), ([-1, 1], False), ([1, 1], False)):
        trial = propose(1, {0: best}, config, None)
        for fold, value in enumerate(values):
            trial.report(value, fold)
        assert trial.should_prune() == given_up, values


def test_halving_lets_the_better_half_of_means_go_on():
    config = CONFIG.model_copy(update={"pruner": "halving", "batch": 1})
    finished = {}
    goes_on = []
    for place, value in enumerate([0.0, 1.0, 2.0, 1.5]):
        trial = propose(place, finished, config, None)
        trial.report(value, 0)
        goes_on.append(not trial.should_prune())
        finished[place] = trial.study.tell(trial, value)
    assert goes_on == [True, True, True, True]
    late = propose(4, finished, config, None)
    late.report(0.5, 0)
    assert late.should_prune()


def test_a_trial_that_is_worth_no_number_stops_the_search_by_name(url):
    with pytest.raises(ContractViolation, match="trial 0 is worth nan, with"):
        finish(url, "nan", objective=lambda trial: trial.suggest_float("x", 0, 1) * float("nan"))
