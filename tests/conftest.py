"""What every test may ask for: a home of its own and databases of its own, on a real PostgreSQL."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings
from sqlalchemy.engine import make_url
from xdist.scheduler import LoadScopeScheduling

from pipelines import database
from pipelines.settings import Settings, load_settings

hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis_settings.load_profile("ci")

# What these modules share among their tests is dear: each has one worker, those of a folder of DAGs together.
ONE_WORKER = ("tests/pipelines/", "tests/test_", "tests/dags/")
TOGETHER = ("tests/dags/",)


class DearModules(LoadScopeScheduling):
    """Gives a module whose fixtures are dear to one worker, whole; other tests one by one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder = next((folder for folder in TOGETHER if path.startswith(folder)), None)
        return folder or (path if path.startswith(ONE_WORKER) else nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> DearModules:
    return DearModules(config, log)


MARKET = Path(__file__).resolve().parent.parent.parent / "shared" / "market"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [v for v in os.environ if v.startswith("HOURGLASS_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def market_folder() -> Path:
    """The folder of real bars; skips where it is absent."""
    if not MARKET.is_dir():
        pytest.skip("the real bars are not beside the repository")
    return MARKET


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of an embedded PostgreSQL that lives as long as the test session."""
    with tempfile.TemporaryDirectory(prefix="hourglass-test-") as folder:
        server = database.embedded_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def server_path() -> Iterator[Path]:
    """A temporary folder for a home with an embedded PostgreSQL.

    Not pytest's own: every pytest that starts takes back the permission to pass through it, which
    root gives to the user its database runs as.
    """
    with tempfile.TemporaryDirectory(prefix="hourglass-test-") as folder:
        yield Path(folder)


@pytest.fixture
def database_url(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a server on which this test's four databases exist under names of their own."""
    suffix = uuid.uuid4().hex[:10]
    names = tuple(f"{name}_{suffix}" for name in database.DATABASES)
    monkeypatch.setattr(database, "DATABASES", names)
    yield postgres
    server = make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for name in names:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path, database_url: str) -> Settings:
    """Settings over an empty home and empty databases."""
    return load_settings({"home": str(home), "database_url": database_url}, environ={})
