"""Kill -9 in the middle of any step, run it again, and stand where an undisturbed run stands.

Every trial restores the home as it stood before a step, forks a process that runs the step, kills it
(and, every third time, the database with it) at a random instant, runs the step again in a new
process and compares the whole state: every lake table, the ledger's audit chain, runs and versions.
Run by `make test-kill`; the random instants are seeded, their effect on a loaded machine is not.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipelines.clock import format_instant, parse_instant
from pipelines.context import Context
from pipelines.database import embedded_server
from pipelines.embedded_postgres import postmaster_pid
from pipelines.settings import Settings, load_settings
from pipelines.steps import HOURLY_CHAIN

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1200)]

NOW = parse_instant("2024-03-01T00:00Z")
HOUR = timedelta(hours=1)
AS_OF = NOW - 2 * HOUR
TRAINED_AT = NOW - 6 * HOUR
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
TRIALS = 50
# One trial in six disturbs the training, one in nine the backfill; the rest an hourly step.
SLOW_STEPS = {"train": 8, "backfill": 6}
LONGEST_SECONDS = 240


@contextmanager
def simulator() -> Iterator[str]:
    program = "from pipelines.cli import main; main()"
    words = ["exchange", "--now", format_instant(NOW), "--speed", "0", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield next(word for word in line.split() if word.startswith("http://"))
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def make_settings(home: Path, url: str) -> Settings:
    small = {
        "home": str(home),
        "universe": list(SYMBOLS),
        "exchange.base_url": url,
        "training.split.windows": 2,
        "training.split.test_days": 4,
        "training.split.train_days": 25,
        "training.split.inner_folds": 2,
        "training.search.trials": 2,
        "training.threads": 1,
    }
    return load_settings(small, environ={})


def run_step(settings: Settings, name: str) -> None:
    with Context(settings) as context:
        if name == "backfill":
            step = import_module("pipelines.steps.backfill").backfill
            step(context, NOW - timedelta(days=60), TRAINED_AT)
        elif name == "train":
            step = import_module("pipelines.steps.train").train
            step(context, TRAINED_AT)
        else:
            getattr(import_module(f"pipelines.steps.{name}"), name)(context, AS_OF)


def prepare(settings: Settings, before: str) -> None:
    """What stands between two disturbed steps and is not disturbed itself."""
    from pipelines.replay import replay

    with Context(settings) as context:
        if before == "train":
            import_module("pipelines.steps.build_features").build_features(context, TRAINED_AT)
        else:
            replay(context, TRAINED_AT, AS_OF - HOUR)


def fork(settings: Settings, work: Callable[[], Any], log: Path) -> int:
    """Run `work` in a process of its own session; leave the database as its last user should."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        embedded_server(settings.home / "postgres").cleanup()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def finish(pid: int, log: Path) -> None:
    _, status = os.waitpid(pid, 0)
    assert status == 0, log.read_text()[-3000:]


def undisturbed(settings: Settings, work: Callable[[], Any], log: Path) -> float:
    began = time.monotonic()
    finish(fork(settings, work, log), log)
    return time.monotonic() - began


def kill_after(pid: int, seconds: float, settings: Settings, *, database_too: bool) -> bool:
    """Kill the process `seconds` from now; say whether it was still at work."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    server = postmaster_pid(settings.home / "postgres") if database_too else None
    if server is not None:
        os.kill(server, signal.SIGKILL)
    return True


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def fingerprint(settings: Settings, answer: Path) -> None:
    """Write what stands, without the stamps of when and by which process it was written."""
    import mlflow
    import sqlalchemy as sa

    with Context(settings) as context:
        lake = {}
        for info in context.lake.describe():
            from pipelines.tables import contract

            frame = context.lake.read(info.name, end=NOW)
            facts = frame.drop([c for c in contract(info.name).audit_columns if c in frame.columns])
            lake[info.name] = [
                frame.height,
                hashlib.sha256(facts.write_csv().encode()).hexdigest(),
            ]
        verified = [str(finding) for finding in context.ledger.verify()]
        engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT kind, payload, hash FROM audit ORDER BY sequence")
            )
            audit = [[row.kind, row.hash] for row in rows]
        versions = [
            [v.version, v.training_id, str(v.train_end), v.feature_set, v.scorer_hash, v.tags]
            for v in context.registry.versions()
        ]
        client = mlflow.MlflowClient(context.databases.mlflow)
        experiments = [e.experiment_id for e in client.search_experiments()]
        finished = sorted(
            str(run.data.tags.get("mlflow.runName"))
            for run in client.search_runs(experiments, "attributes.status = 'FINISHED'")
        )
    answer.write_text(
        json.dumps(
            {
                "lake": lake,
                "findings": verified,
                "audit": audit,
                "versions": versions,
                "finished": finished,
            }
        )
    )


def state_of(settings: Settings, folder: Path) -> dict[str, Any]:
    answer, log = folder / "state.json", folder / "state.log"
    finish(fork(settings, lambda: fingerprint(settings, answer), log), log)
    state: dict[str, Any] = json.loads(answer.read_text())
    return state


class Stages:
    """Homes as they stand before and after every step of an undisturbed run."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.settings = make_settings(folder / "home", url)
        self.before: dict[str, Path] = {}
        self.after: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        log = folder / "undisturbed.log"
        self.settings.home.mkdir(parents=True)
        for name in ("backfill", "train", *HOURLY_CHAIN):
            if name in ("train", HOURLY_CHAIN[0]):
                undisturbed(self.settings, lambda name=name: prepare(self.settings, name), log)
            self.before[name] = folder / f"before_{name}"
            copy(self.settings.home, self.before[name])
            self.seconds[name] = undisturbed(
                self.settings, lambda name=name: run_step(self.settings, name), log
            )
            self.after[name] = state_of(self.settings, folder)


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    # Imported once, here, with the warnings of libraries at import: a fork then starts at once.
    modules = (
        "great_expectations",
        "mlflow",
        "optuna",
        "sklearn.isotonic",
        "xgboost",
        "pipelines.replay",
        "pipelines.steps.backfill",
        "pipelines.steps.train",
        *(f"pipelines.steps.{name}" for name in HOURLY_CHAIN),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            import_module(module)
    # Not a folder of pytest's, for the reason that `server_path` gives.
    with tempfile.TemporaryDirectory(prefix="hourglass-test-") as folder, simulator() as url:
        yield Stages(Path(folder), url)


def plan() -> list[tuple[int, str]]:
    names = [name for name, times in SLOW_STEPS.items() for _ in range(times)]
    while len(names) < TRIALS:
        names.append(HOURLY_CHAIN[len(names) % len(HOURLY_CHAIN)])
    return list(enumerate(names))


@pytest.mark.parametrize(("trial", "name"), plan(), ids=str)
def test_a_killed_step_run_again_ends_where_an_undisturbed_run_ends(
    stages: Stages, trial: int, name: str
) -> None:
    settings, log = stages.settings, stages.folder / f"trial_{trial}.log"
    copy(stages.before[name], settings.home)
    delay = random.Random(trial).uniform(0.0, stages.seconds[name])
    pid = fork(settings, lambda: run_step(settings, name), log)
    killed = kill_after(pid, delay, settings, database_too=trial % 3 == 0)
    undisturbed(settings, lambda: run_step(settings, name), log)
    assert state_of(settings, stages.folder) == stages.after[name], (killed, delay)
