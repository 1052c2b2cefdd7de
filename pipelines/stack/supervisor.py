"""The process that owns the local stack: starts it, restarts what dies, stops it on SIGTERM.

Run as `python -m pipelines.stack.supervisor TOKEN` by `stack.up`. It writes `<home>/run/stack.json` at
every change, before anything depends on it, so that `stack.down` finds what was started even where
this process was killed.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import psycopg
from sqlalchemy.engine import make_url

from pipelines.database import DatabaseUrls, embedded_server, open_databases
from pipelines.embedded_postgres import EmbeddedServer, postmaster_pid
from pipelines.errors import HourglassError, SourceUnavailable
from pipelines.settings import Settings, load_settings
from pipelines.stack import plan as stack_plan
from pipelines.stack.plan import Component, write_private
from pipelines.stack.processes import TOKEN_VARIABLE, ProcessIdentity, start_session, stop_sessions

_TICK_SECONDS = 0.25
_HEALTH_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 30.0
# A process that ran this long had a start that went well.
_GOOD_RUN_SECONDS = 60.0
_STARTS_BEFORE_GIVING_UP = 4

_log = logging.getLogger("hourglass.supervisor")


@dataclass
class _Running:
    """One component as it stands."""

    component: Component
    process: subprocess.Popen[bytes] | None = None
    identity: ProcessIdentity | None = None
    started: float = 0.0
    next_start: float = 0.0
    quick_ends: int = 0
    restarts: int = 0
    healthy: bool = False
    past: list[ProcessIdentity] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        alive = self.identity is not None
        state = "healthy" if alive and self.healthy else "starting" if alive else "waiting"
        identity = self.identity
        return {
            "pid": identity.pid if identity else None,
            "started": identity.started if identity else None,
            "state": state,
            "url": self.component.url,
            "restarts": self.restarts,
            "past": [[past.pid, past.started] for past in self.past[-20:]],
        }


def state_file(home: Path) -> Path:
    """Return the file in which the supervisor says what it runs."""
    return home / "run" / "stack.json"


class Supervisor:
    """Owner of one home's stack.

    Parameters
    ----------
    settings : Settings
    token : str
        Value of `TOKEN_VARIABLE` in the environment of everything that is started.
    """

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        self.token = token
        self.stopping = False
        self.phase = "starting"
        self.error: dict[str, str] | None = None
        self.server: EmbeddedServer | None = None
        self.running: dict[str, _Running] = {}
        self._written = ""

    def run(self) -> int:
        """Start everything, watch until SIGTERM or failure, stop everything; return an exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        self._write_state()
        try:
            self._start_all()
            self._watch()
        except HourglassError as error:
            _log.error("%s", error)
            self.phase = "failed"
            self.error = {"kind": error.kind, "error": error.message, "remedy": error.remedy}
        finally:
            self._stop_all()
        return 0 if self.error is None else 1

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.stopping = True

    def _start_all(self) -> None:
        databases = self._open_databases()
        token = {TOKEN_VARIABLE: self.token}
        planned = stack_plan.components(self.settings, databases, token)
        self.running = {component.name: _Running(component) for component in planned}
        self._start(self.running["mlflow"])
        self._migrate(stack_plan.migration(self.settings, databases, token), databases)
        for running in self.running.values():
            if not self.stopping and running.process is None:
                self._start(running)

    def _open_databases(self) -> DatabaseUrls:
        if self.settings.database_url is None:
            self.server = embedded_server(self.settings.home / "postgres")
        self._write_state()
        return open_databases(self.settings)

    def _migrate(self, component: Component, databases: DatabaseUrls) -> None:
        """Bring Airflow's database to the installed version, unless the last run of it did."""
        mark = self.settings.home / "run" / "airflow-schema"
        installed = version("apache-airflow")
        if mark.is_file() and mark.read_text() == f"{installed} {_schema(databases.airflow)}":
            return
        running = self.running[component.name] = _Running(component)
        self._start(running)
        process = running.process
        while process is not None and process.poll() is None and not self.stopping:
            time.sleep(_TICK_SECONDS)
        del self.running[component.name]
        if process is not None and process.returncode not in (0, None):
            raise SourceUnavailable(
                f"airflow db migrate ended with {process.returncode}",
                remedy=f"read {self._log_file(component.name)}",
            )
        if not self.stopping:
            write_private(mark, f"{installed} {_schema(databases.airflow)}")

    def _start(self, running: _Running) -> None:
        component = running.component
        running.process = start_session(
            component.command,
            environment=component.environment,
            folder=self.settings.home / "run",
            log=self._log_file(component.name),
            keep_open=() if self.server is None else (self.server.users,),
        )
        running.identity = ProcessIdentity.of(running.process.pid)
        running.started = time.monotonic()
        running.healthy = False
        self._write_state()

    def _watch(self) -> None:
        next_health = 0.0
        while not self.stopping:
            time.sleep(_TICK_SECONDS)
            self._mind_database()
            for running in self.running.values():
                self._mind(running)
            if time.monotonic() >= next_health:
                self._look_at_health()
                next_health = time.monotonic() + _HEALTH_SECONDS
            self._write_state()

    def _mind_database(self) -> None:
        if self.server is None:
            return
        try:
            self.server.join()
        except (OSError, subprocess.SubprocessError) as error:
            _log.error("postgres did not come back: %s", error)

    def _mind(self, running: _Running) -> None:
        """Notice that a component ended, and start it again when its pause is over."""
        now = time.monotonic()
        if running.process is not None and running.process.poll() is not None:
            _log.warning("%s ended with %s", running.component.name, running.process.returncode)
            running.quick_ends = (
                0 if now - running.started > _GOOD_RUN_SECONDS else running.quick_ends + 1
            )
            self._refuse_hopeless(running)
            if running.identity is not None:
                # What the dead leader left behind would hold its port.
                stop_sessions([running.identity], patience_seconds=1.0)
                running.past.append(running.identity)
            running.process = running.identity = None
            running.next_start = now + min(2.0**running.quick_ends, _LONGEST_BACKOFF_SECONDS) - 1.0
        if running.process is None and now >= running.next_start:
            running.restarts += 1
            self._start(running)

    def _refuse_hopeless(self, running: _Running) -> None:
        if self.phase == "starting" and running.quick_ends >= _STARTS_BEFORE_GIVING_UP:
            log = self._log_file(running.component.name)
            raise SourceUnavailable(
                f"{running.component.name} ended {running.quick_ends} times while starting: {_tail(log)}",
                remedy=f"read {log}",
            )

    def _look_at_health(self) -> None:
        reports: dict[str, dict[str, Any] | None] = {}
        for running in self.running.values():
            url = running.component.health_url
            if url is not None and url not in reports:
                reports[url] = _ask(url)
            running.healthy = running.identity is not None and _is_well(
                running.component, reports.get(url) if url else {}
            )
        if self.phase == "starting" and all(running.healthy for running in self.running.values()):
            self.phase = "up"
            _log.info("all components are healthy")

    def _stop_all(self) -> None:
        _log.info("stopping")
        leaders = [r.identity for r in self.running.values() if r.identity is not None]
        stop_sessions(leaders, token=self.token)
        for running in self.running.values():
            running.process = running.identity = None
        if self.server is not None:
            self.server.cleanup()
        if self.error is None:
            state_file(self.settings.home).unlink(missing_ok=True)
        else:
            self._write_state()

    def _log_file(self, name: str) -> Path:
        return self.settings.home / "logs" / f"{name}.log"

    def _write_state(self) -> None:
        here = ProcessIdentity.of(os.getpid())
        text = json.dumps(
            {
                "token": self.token,
                "phase": self.phase,
                "error": self.error,
                "supervisor": {"pid": here.pid, "started": here.started},
                "postgres": self._postgres_state(),
                "components": {name: r.as_json() for name, r in self.running.items()},
            },
            indent=2,
        )
        if text != self._written:
            write_private(state_file(self.settings.home), text)
            self._written = text

    def _postgres_state(self) -> dict[str, Any] | None:
        if self.server is None:
            return None
        pid = postmaster_pid(self.server.data_folder)
        return {"pid": pid, "state": "waiting" if pid is None else "healthy"}


def _schema(database: str) -> str | None:
    """Return the revision Airflow's tables are at, None where there are none."""
    url = make_url(database).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _ask(url: str) -> dict[str, Any] | None:
    """Return the health report at `url` ({} if it has none), None if it does not answer 200."""
    try:
        answer = httpx.get(url, timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return None
    if answer.status_code != 200:
        return None
    return dict(answer.json()) if "json" in answer.headers.get("content-type", "") else {}


def _is_well(component: Component, report: dict[str, Any] | None) -> bool:
    if report is None:
        return False
    if component.health_key is None:
        return True
    return bool((report.get(component.health_key) or {}).get("status") == "healthy")


def _tail(log: Path, characters: int = 300) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return " / ".join(line.strip() for line in lines[-3:])[-characters:] or "it said nothing"


def main() -> int:
    """Run the supervisor of the home that the environment names."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return Supervisor(load_settings(), sys.argv[1]).run()


if __name__ == "__main__":
    sys.exit(main())
