"""Bad input at the command line: a message that teaches, the right exit code, nothing half written.

One home is filled, trained and left alone; every test works on a copy of its lake and compares the
lake's versions and the ledger's audit rows before and after. A refusal is one JSON object
`{error, kind, remedy}` alone on stderr; where a remedy names a command, the command is run.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from pipelines import database
from pipelines.cli import main
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.lake import Lake
from pipelines.market_simulator import Simulator, SyntheticMarket, running_simulator
from pipelines.market_simulator.faults import parse_faults
from pipelines.settings import load_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.train import train

HOUR = timedelta(hours=1)
LISTED = datetime(2024, 3, 10, tzinfo=UTC)
AS_OF = datetime(2024, 5, 6, 10, tzinfo=UTC)
NOW = AS_OF + timedelta(minutes=10)
TRAINED_AT = AS_OF - HOUR
T, BEFORE = format_instant(AS_OF), format_instant(TRAINED_AT)
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
KEYS: dict[str, Any] = {
    "universe": list(UNIVERSE),
    "exchange.max_attempts": 2,
    "exchange.backoff_seconds": 0.01,
    "exchange.max_backoff_seconds": 0.05,
    "exchange.timeout_seconds": 2,
    "training.split.windows": 2,
    "training.split.test_days": 4,
    "training.split.train_days": 25,
    "training.split.inner_folds": 2,
    "training.search.trials": 2,
    "training.threads": 1,
}
# What `hourglass` runs, on databases of the test's own; the room is the longest file it may write.
PROGRAM = """
import resource, sys
from pipelines import database
from pipelines.cli import main
database.DATABASES = tuple(sys.argv[1].split(","))
if sys.argv[2] != "-":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
main(sys.argv[3:])
"""


@dataclass(frozen=True)
class Answer:
    """What one command left behind."""

    code: int
    out: str
    err: str

    def refusal(self, code: int, *said: str) -> str:
        """Check that this is one teaching JSON error with `code`; return its remedy."""
        assert self.code == code, self.err
        assert self.out == ""
        error = json.loads(self.err)
        assert set(error) == {"error", "kind", "remedy"}
        kinds = {2: "config", 3: "contract_violation", 4: "source_unavailable"}
        assert error["kind"] == kinds[code]
        for words in said:
            assert words in error["error"], error
        assert error["remedy"]
        assert "\n" not in error["error"]
        assert error["remedy"] not in error["error"]
        return str(error["remedy"])

    @property
    def report(self) -> dict[str, Any]:
        """The answer of a command that was done."""
        assert self.code == 0, self.err
        assert self.err == ""
        return dict(json.loads(self.out))


@dataclass(frozen=True)
class Stage:
    """A venue, databases and a trained home that tests copy."""

    venue: Simulator
    database_url: str
    names: tuple[str, ...]
    home: Path

    def variables(self, home: Path) -> dict[str, str]:
        """Return the environment of a command on `home`."""
        keys = {
            "home": str(home),
            "database_url": self.database_url,
            "exchange.base_url": self.venue.base_url,
            "mlflow.artifact_uri": str(self.home / "artifacts"),
            **KEYS,
        }
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in keys.items()}
        return {"HOURGLASS_" + k.upper().replace(".", "__"): v for k, v in texts.items()}


@contextmanager
def own_databases(server: str) -> Iterator[tuple[str, ...]]:
    names = tuple(f"{name}_{uuid.uuid4().hex[:10]}" for name in database.DATABASES)
    yield names
    with connected(server) as connection:
        for name in names:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@contextmanager
def connected(server: str, name: str = "postgres") -> Iterator[sa.Connection]:
    url = make_url(server).set(drivername="postgresql+psycopg", database=name)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def stage(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("stage")
    market = SyntheticMarket(UNIVERSE, start=LISTED, seed=7)
    with running_simulator(market, now=NOW) as venue, own_databases(postgres) as names:
        made = Stage(venue, postgres, names, home)
        settings = load_settings(environ=made.variables(home))
        with Context(settings) as context:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(database, "DATABASES", names)
                assert context.databases
            backfill(context, TRAINED_AT - timedelta(days=50), TRAINED_AT)
            build_features(context, TRAINED_AT)
            train(context, TRAINED_AT)
        yield made


@pytest.fixture
def copied(stage: Stage, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with the stage's lake, in this process's environment."""
    shutil.copytree(stage.home / "lake", home / "lake")
    monkeypatch.setattr(database, "DATABASES", stage.names)
    for variable, text in stage.variables(home).items():
        monkeypatch.setenv(variable, text)
    yield home
    stage.venue.faults.clear()


@pytest.fixture
def hourglass(copied: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`hourglass("ingest-bars", "--as-of", T)`: one command with --json, in this process."""

    def run(*words: str) -> Answer:
        capfd.readouterr()
        # As in a process: what is printed goes through the descriptors, which --json redirects.
        with (
            open(1, "w", closefd=False, buffering=1) as out,
            open(2, "w", closefd=False, buffering=1) as err,
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main([*words, "--json"])
        said = capfd.readouterr()
        return Answer(int(left.value.code or 0), said.out, said.err)

    return run


def process(
    stage: Stage, *words: str, room: int | None = None, **variables: str
) -> subprocess.Popen[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HOURGLASS_")}
    environ |= {k: v for k, v in os.environ.items() if k in stage.variables(stage.home)}
    space = "-" if room is None else str(room)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ",".join(stage.names), space, *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ | variables,
    )


def finished(running: subprocess.Popen[str]) -> Answer:
    out, err = running.communicate(timeout=60)
    return Answer(running.returncode, out, err)


@pytest.fixture
def untouched(stage: Stage, copied: Path) -> Iterator[None]:
    """Check that the lake and the ledger are left as they were."""
    before = state(stage, copied)
    yield
    assert state(stage, copied) == before


def state(stage: Stage, home: Path) -> dict[str, Any]:
    lake = Lake(str(home / "lake"))
    told: dict[str, Any] = {info.name: (info.version, info.rows) for info in lake.describe()}
    with connected(stage.database_url, stage.names[0]) as connection:
        told["audit"] = connection.scalar(sa.text("SELECT count(*) FROM audit"))
    return told


def as_variable(key: str) -> str:
    return "HOURGLASS_" + key.upper().replace(".", "__")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("words", "code", "said", "remedy"),
    [
        (["ingest-bars", "--as-of", "2999-01-01"], 2, ["2999-01-01T00:00Z is in the future"], "or earlier"),
        (["ingest-bars", "--as-of", "2024-05-06T10:30Z"], 2, ["10:30", "off the 1h grid"], T),
        (["replay", "--start", T, "--end", BEFORE], 2, [f"{T} to {BEFORE} is empty"], "--end after --start"),
        (["backfill", "--start", T, "--end", T], 2, [f"{T} to {T} is empty"], "--end after --start"),
        (["backtest", "--start", T, "--end", BEFORE], 2, [f"{T} to {BEFORE} is empty"], "--end after --start"),
        (["backtest", "--model", "99", "--start", "2024-05-01", "--end", T], 3, ["no version 99"], "hourglass status"),
        (["backtest", "--model", "hold", "--start", "2024-05-01", "--end", T], 2, ["'hold' is neither"], "buy_and_hold"),
        (["backtest", "--sweep", "risk.kely_fraction=0.1", "--start", "2024-05-01", "--end", T], 2,
         ["'risk.kely_fraction' is not a key"], "'risk.kelly_fraction'"),
        (["backtest", "--sweep", "risk.kelly_fraction=2", "--start", "2024-05-01", "--end", T], 2,
         ["risk.kelly_fraction = '2' (--sweep)", "less than or equal to 1"], "hourglass.yaml"),
        (["backtest", "--format", "docx", "--start", "2024-05-01", "--end", T], 2, ["'docx' is not known"], "html, pdf"),
        (["tables", "bar"], 2, ["'bar' is not in the lake"], "bars"),
        (["tables", "bars", "--at-version", "77"], 2, ["77"], "0 to"),
        (["backfill", "--symbols", "SOL/USDT", "--start", "2024-02-01", "--end", "2024-03-01"], 2,
         ["no 1h bar of SOL/USDT up to 2024-03-01T00:00Z", "empty"], "later"),
        (["train", "--as-of", "2024-04-01"], 3, ["history starts 2024-03-17", "take "], "backfill more"),
        (["train", "--set", "training.model=oracle"], 2, ["'oracle' is not known"], "training.model"),
        (["status", "--set", "training.search.trails=3"], 2, ["'training.search.trails'", "command line"], "'training.search.trials'"),
        (["status", "--set", "training.search.trials=many"], 2, ["training.search.trials", "'many'", "command line"], "hourglass config"),
        (["status", "--set", "universe=BTC/USDT,ETH/USDT"], 2, ["universe", "not a list"], '["BTC/USDT", "ETH/USDT"]'),
        (["ingest-bars", "--as-of", T, "--set", "venue=binanse"], 2, ["'binanse' is not known"], "'binance'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_bound_and_a_remedy(
    words: list[str],
    code: int,
    said: list[str],
    remedy: str,
    hourglass: Callable[..., Answer],
) -> None:
    assert remedy in hourglass(*words).refusal(code, *said)


def test_a_symbol_the_venue_does_not_list_is_told_with_the_nearest_that_it_does(
    stage: Stage, copied: Path, hourglass: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(stage, copied)
    monkeypatch.setenv("HOURGLASS_UNIVERSE", '["BTC/USDT", "ETH/UDST"]')
    remedy = hourglass("ingest-bars", "--as-of", T).refusal(2, "does not list 'ETH/UDST'")
    assert "'ETH/USDT'" in remedy
    assert state(stage, copied) == before
    monkeypatch.setenv("HOURGLASS_UNIVERSE", '["BTC/USDT", "ETH/USDT"]')
    assert hourglass("ingest-bars", "--as-of", T).report["changed"]


def test_an_hour_before_the_market_was_listed_is_refused_and_not_an_outage(
    copied: Path, hourglass: Callable[..., Answer]
) -> None:
    shutil.rmtree(copied / "lake")
    answer = hourglass("ingest-bars", "--as-of", "2024-03-01")
    assert "later" in answer.refusal(2, "BTC/USDT", "2024-03-01T00:00Z", "the market is empty")
    assert Lake(str(copied / "lake")).describe() == []


@pytest.mark.usefixtures("untouched")
def test_a_typing_error_in_a_file_or_a_variable_names_the_origin_and_the_nearest_key(
    copied: Path, hourglass: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "hourglass.yaml").write_text("books:\n  inital_cash: 5\n")
    remedy = hourglass("status").refusal(2, "'books.inital_cash'", str(copied / "hourglass.yaml"))
    assert "'books.initial_cash'" in remedy
    (copied / "hourglass.yaml").write_text("books: [\n")
    hourglass("status").refusal(2, "hourglass.yaml is not YAML")
    (copied / "hourglass.yaml").write_text("books:\n  initial_cash: 5\n")
    monkeypatch.setenv("HOURGLASS_EXCHANGE__BASE_ULR", "http://127.0.0.1:1")
    remedy = hourglass("status").refusal(2, "$HOURGLASS_EXCHANGE__BASE_ULR")
    assert "'exchange.base_url'" in remedy
    monkeypatch.delenv("HOURGLASS_EXCHANGE__BASE_ULR")
    assert hourglass("status").code == 0


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "server_error", "status": 503}, "503"),
        ({"kind": "rate_limited", "retry_after": 600}, "600 s"),
        ({"kind": "truncated", "path": "/api/v3/klines"}, "not JSON"),
    ],
    ids=["503", "429", "truncated"],
)
def test_a_venue_that_fails_beyond_patience_is_to_be_asked_again(
    fault: dict[str, Any], said: str, stage: Stage, hourglass: Callable[..., Answer]
) -> None:
    stage.venue.faults.add(parse_faults([fault]))
    hourglass("ingest-bars", "--as-of", T).refusal(4, "binance did not answer", said)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.usefixtures("untouched")
def test_a_venue_that_is_down_is_named_and_its_hour_can_be_run_once_it_is_up(
    hourglass: Callable[..., Answer],
) -> None:
    down = f"exchange.base_url=http://127.0.0.1:{closed_port()}"
    for words in (["ingest-bars", "--as-of", T], ["backfill", "--start", BEFORE, "--end", T]):
        remedy = hourglass(*words, "--set", down).refusal(4, "2 attempts", "Connection refused")
        assert "exchange.base_url" in remedy


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("verb", ["status", "train", "score-bars", "trade-paper"])
def test_without_a_database_every_verb_that_needs_one_says_so(
    verb: str, hourglass: Callable[..., Answer]
) -> None:
    nobody = f"database_url=postgresql://127.0.0.1:{closed_port()}/postgres"
    words = [verb, "--as-of", BEFORE, "--set", nobody]
    assert "embedded" in hourglass(*words).refusal(4, "127.0.0.1", "does not answer")


@pytest.mark.usefixtures("untouched")
def test_a_database_that_goes_away_in_the_middle_is_to_be_retried(
    stage: Stage, hourglass: Callable[..., Answer]
) -> None:
    # Another seed, so that there is something left to train.
    running = process(stage, "train", "--as-of", BEFORE, "--set", "training.search.seed=11")
    optuna = stage.names[2]
    with connected(stage.database_url) as connection:
        users = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        deadline = time.monotonic() + 30
        while not connection.scalar(users, {"name": optuna}) and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            for name in stage.names:
                connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(:names)"
                ),
                {"names": list(stage.names)},
            )
            answer = finished(running)
        finally:
            for name in stage.names:
                connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    assert "the same command" in answer.refusal(4, "the database did not answer")


@pytest.fixture
def hour(hourglass: Callable[..., Answer]) -> None:
    """The copied lake goes on by one hour, which nothing has scored yet."""
    for verb in ("ingest-bars", "build-features"):
        assert hourglass(verb, "--as-of", T).report["changed"]


@pytest.mark.usefixtures("hour")
@pytest.mark.parametrize("words", [["train", "--as-of", BEFORE], ["score-bars", "--as-of", T]])
def test_a_tracking_server_that_is_not_there_is_to_be_retried(
    words: list[str],
    stage: Stage,
    copied: Path,
    hourglass: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = state(stage, copied)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://127.0.0.1:{closed_port()}"
    answer = hourglass(*words, "--set", f"mlflow.tracking_uri={address}")
    remedy = answer.refusal(4, f"MLflow at {address} does not answer: Connection refused")
    assert "unset mlflow.tracking_uri" in remedy
    assert state(stage, copied) == before
    hourglass(*words).report  # noqa: B018


@pytest.mark.usefixtures("untouched")
def test_an_address_that_is_no_tracking_server_is_a_wrong_setting(
    stage: Stage, hourglass: Callable[..., Answer]
) -> None:
    venue = f"mlflow.tracking_uri={stage.venue.base_url}"
    answer = hourglass("train", "--as-of", BEFORE, "--set", venue)
    assert "mend mlflow.tracking_uri" in answer.refusal(2, "is no MLflow server", "404")


@pytest.mark.usefixtures("hour")
def test_a_model_of_another_feature_set_does_not_score_and_both_remedies_are_named(
    stage: Stage, copied: Path, hourglass: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = '["momentum", "trend", "volatility"]'
    monkeypatch.setenv("HOURGLASS_FEATURES__FAMILIES", fewer)
    assert hourglass("build-features", "--as-of", T).report["changed"]
    before = state(stage, copied)
    answer = hourglass("score-bars", "--as-of", T)
    remedy = answer.refusal(3, "model version 1", "feature set", "nothing was scored")
    assert "hourglass train" in remedy
    assert "hourglass build-features" in remedy
    assert state(stage, copied) == before
    monkeypatch.delenv("HOURGLASS_FEATURES__FAMILIES")
    assert hourglass("build-features", "--as-of", T).report["changed"]
    scored = hourglass("score-bars", "--as-of", T).report["detail"]
    assert scored["rows"] == 3 * scored["models"] > 0


def test_steps_out_of_order_name_the_one_to_run_first(
    copied: Path, hourglass: Callable[..., Answer]
) -> None:
    shutil.rmtree(copied / "lake")
    answer = hourglass("build-features", "--as-of", BEFORE)
    assert "hourglass backfill" in answer.refusal(3, "no bar of BTC/USDT, ETH/USDT, SOL/USDT")
    answer = hourglass("check-bars", "--as-of", T)
    assert f"hourglass ingest-bars --as-of {T}" in answer.refusal(3, "no bar known at")
    answer = hourglass("check-features", "--as-of", T)
    assert f"hourglass build-features --as-of {T}" in answer.refusal(3, "features does not exist")
    assert "hourglass build-features" in hourglass("train", "--as-of", T).refusal(3, "features")
    assert Lake(str(copied / "lake")).describe() == []
    assert hourglass("ingest-bars", "--as-of", T).report["changed"]
    answer = hourglass("score-bars", "--as-of", T)
    remedy = answer.refusal(3, f"the hour of {T} has bars but no features")
    assert f"hourglass build-features --as-of {T}" in remedy
    assert hourglass("build-features", "--as-of", T).report["detail"]["rows"] == 3 * 48


@pytest.mark.parametrize(
    ("words", "room"),
    [
        (["ingest-bars", "--as-of", T], 1000),
        (["build-features", "--as-of", BEFORE, "--set", 'features.families=["trend"]'], 20_000),
        (["train", "--as-of", BEFORE, "--set", "training.search.seed=12"], 1000),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("untouched")
def test_a_full_disk_stops_the_command_and_leaves_the_lake_as_it_was(
    words: list[str], room: int, stage: Stage
) -> None:
    remedy = finished(process(stage, *words, room=room)).refusal(4)
    assert "space" in remedy


@pytest.mark.usefixtures("untouched")
def test_a_home_that_cannot_be_is_refused(tmp_path: Path, hourglass: Callable[..., Answer]) -> None:
    (tmp_path / "file").write_text("")
    within = str(tmp_path / "file" / "home")
    answer = hourglass("ingest-bars", "--as-of", T, "--home", within)
    answer.refusal(4, within)


def test_an_empty_home_has_a_status_and_no_tables(
    tmp_path: Path, hourglass: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    with own_databases(stage.database_url) as names:
        monkeypatch.setattr(database, "DATABASES", names)
        empty = str(tmp_path / "nothing")
        assert hourglass("status", "--home", empty).report == {
            "as_of": None,
            "tables": {},
            "champion": None,
            "books": [],
            "ledger": {"balanced": True, "audit_chain": True},
        }
        tables = hourglass("tables", "--home", empty)
        assert (tables.code, json.loads(tables.out), tables.err) == (0, [], "")
        hourglass("tables", "bars", "--home", empty).refusal(2, "'bars' is not in the lake")


@pytest.mark.usefixtures("hour")
def test_two_at_the_same_time_trade_an_hour_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, copied: Path
) -> None:
    with own_databases(stage.database_url) as names:
        elsewhere = Stage(stage.venue, stage.database_url, names, stage.home)
        both = [process(elsewhere, "trade-paper", "--as-of", T) for _ in range(2)]
        reports = [finished(running).report for running in both]
        assert sorted(report["changed"] for report in reports) == [False, True]
        assert max(report["detail"]["books"] for report in reports) == 2
        with connected(stage.database_url, names[0]) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM equity")) == 2


@pytest.mark.long
def test_two_at_the_same_time_train_one_model(stage: Stage, copied: Path) -> None:
    words = ["train", "--as-of", BEFORE, "--set", "training.search.seed=13"]
    both = [process(stage, *words) for _ in range(2)]
    reports = [finished(running).report for running in both]
    assert sorted(report["changed"] for report in reports) == [False, True]
    versions = {report["detail"]["version"] for report in reports}
    assert len(versions) == 1
    with connected(stage.database_url, stage.names[1]) as connection:
        count = sa.text("SELECT count(*) FROM model_versions WHERE version = :v")
        assert connection.scalar(count, {"v": int(versions.pop())}) == 1


@pytest.mark.usefixtures("untouched")
def test_the_doctor_finds_a_good_home_well_and_says_of_a_bad_one_what_to_mend_first(
    hourglass: Callable[..., Answer],
) -> None:
    ports = [f"stack.{name}_port={closed_port()}" for name in ("airflow", "mlflow")]
    words = ["doctor", *(word for port in ports for word in ("--set", port))]
    report = hourglass(*words).report
    # How much room there is, is this machine's.
    assert [c["check"] for c in report["checks"] if not c["ok"] and c["check"] != "disk"] == []
    nobody = f"http://127.0.0.1:{closed_port()}"
    words += ["--set", f"database_url=postgresql://127.0.0.1:{closed_port()}/postgres"]
    answer = hourglass(*words, "--set", f"exchange.base_url={nobody}")
    assert (answer.code, answer.err) == (4, "")
    found = {check["check"]: check for check in json.loads(answer.out)["checks"]}
    unwell = {"database", "ledger", "mlflow", "exchange", "clock_skew"}
    assert {name for name, check in found.items() if not check["ok"]} - {"disk"} == unwell
    assert "Connection refused" in found["database"]["found"]
    assert "Connection refused" in found["exchange"]["found"]
    assert found["ledger"]["remedy"] == "mend the database first"
    assert found["clock_skew"]["remedy"] == "mend the exchange first"
