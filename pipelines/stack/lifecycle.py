"""The local stack: embedded PostgreSQL, MLflow and Airflow, started, seen and stopped as one.

`up` leaves a supervisor behind (`pipelines.stack.supervisor`); `down` stops exactly what it started, also
where it was killed; both are safe to repeat.
"""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from pipelines.embedded_postgres import postmaster_pid, stop_if_unused
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import Settings
from pipelines.stack.plan import (
    airflow_url,
    asks_for_password,
    dags_folder,
    mlflow_url,
    passwords_file,
    write_resolved_settings,
)
from pipelines.stack.processes import TOKEN_VARIABLE, ProcessIdentity, start_session, stop_sessions
from pipelines.stack.supervisor import state_file

__all__ = ["airflow_url", "dags_folder", "down", "mlflow_url", "status", "up"]

_LONGEST_START_SECONDS = 300.0
_LONGEST_STOP_SECONDS = 60.0

Say = Callable[[str], None]

# Supervisors outlive this process on purpose; their handles are kept so that they can be reaped.
_launched: list[subprocess.Popen[bytes]] = []


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def up(
    settings: Settings, *, foreground: bool = False, say: Say = _to_stderr
) -> dict[str, dict[str, Any]]:
    """Start the stack and return its status once every component is healthy.

    Parameters
    ----------
    settings : Settings
        Handed down, resolved, to every process of the stack.
    foreground : bool
        Stay until Ctrl-C, then stop the stack.
    say : callable
        Told, line by line, how the start goes.

    Raises
    ------
    ConfigError
        If a port is taken (naming it, its setting and who has it), or dags/ is not there.
    SourceUnavailable
        If a component does not become healthy; everything started is stopped again.
    """
    dags_folder()
    settings.home.mkdir(parents=True, exist_ok=True)
    with _alone(settings.home):
        if _read_state(settings.home) is not None and not _is_up(settings.home):
            say("clearing away what an earlier stack left behind")
            _stop(settings.home)
        if not _is_up(settings.home):
            _refuse_taken_ports(settings)
            supervisor = _launch(settings)
            _wait_until_healthy(settings.home, supervisor, say)
            if asks_for_password(settings):
                say(f"Airflow's user is admin, the password is in {passwords_file(settings)}")
    if foreground:
        _stay(settings, say)
    return status(settings)


def down(settings: Settings, *, say: Say = _to_stderr) -> dict[str, Any]:
    """Stop everything `up` started for this home, and nothing else.

    Returns
    -------
    dict
        `stopped`: the names of the components that ran; empty if none did.
    """
    if not settings.home.is_dir():
        return {"stopped": []}
    with _alone(settings.home):
        running = [name for name, part in status(settings).items() if part["pid"] is not None]
        if _read_state(settings.home) is not None:
            say(f"stopping {len(running)} components")
            _stop(settings.home)
    return {"stopped": running}


def status(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return each component's pid, state, url and restarts; empty if the stack is down.

    A state is `healthy`, `starting`, `waiting` (to be restarted) or `orphaned` (the supervisor is
    gone: `up` or `down` mends it).
    """
    state = _read_state(settings.home)
    if state is None:
        return {}
    supervisor = _identity(state["supervisor"])
    parts: dict[str, dict[str, Any]] = {}
    if supervisor is not None and supervisor.alive:
        parts["supervisor"] = _part(supervisor.pid, state["phase"])
    if state["postgres"] is not None:
        pid = postmaster_pid(settings.home / "postgres")
        parts["postgres"] = _part(pid, "waiting" if pid is None else "healthy")
    for name, component in state["components"].items():
        identity = _identity(component)
        alive = identity is not None and identity.alive
        found = component["state"] if "supervisor" in parts else "orphaned"
        if alive or "supervisor" in parts:
            parts[name] = _part(
                identity.pid if identity and alive else None,
                found if alive else "waiting",
                component["url"],
                component["restarts"],
            )
    return parts if set(parts) - {"postgres"} else {}


def _part(pid: int | None, state: str, url: str | None = None, restarts: int = 0) -> dict[str, Any]:
    return {"pid": pid, "state": state, "url": url, "restarts": restarts}


def _launch(settings: Settings) -> ProcessIdentity:
    token = secrets.token_hex(16)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOURGLASS_")}
    environment |= {
        "HOURGLASS_CONFIG": str(write_resolved_settings(settings)),
        TOKEN_VARIABLE: token,
    }
    process = start_session(
        (sys.executable, "-m", "pipelines.stack.supervisor", token),
        environment=environment,
        folder=settings.home / "run",
        log=settings.home / "logs" / "supervisor.log",
    )
    _launched.append(process)
    return ProcessIdentity.of(process.pid)


def _wait_until_healthy(home: Path, supervisor: ProcessIdentity, say: Say) -> None:
    began = time.monotonic()
    told: set[str] = set()
    try:
        while time.monotonic() < began + _LONGEST_START_SECONDS:
            state = _read_state(home)
            parts = {} if state is None else {**state["components"], "postgres": state["postgres"]}
            for name, part in parts.items():
                if part is not None and part["state"] == "healthy" and name not in told:
                    told.add(name)
                    say(f"{time.monotonic() - began:6.1f} s  {name} is healthy")
            if state is not None and state["phase"] == "up":
                return
            if not supervisor.alive:
                raise _failure(home, state)
            time.sleep(0.25)
    except BaseException:
        _stop(home, supervisor)
        raise
    slow = sorted(name for name, part in parts.items() if part and name not in told)
    _stop(home, supervisor)
    raise SourceUnavailable(
        f"not healthy after {_LONGEST_START_SECONDS:.0f} s: {', '.join(slow) or 'the supervisor'}",
        remedy=f"read the logs under {home / 'logs'}",
    )


def _failure(home: Path, state: dict[str, Any] | None) -> SourceUnavailable | ConfigError:
    error = (state or {}).get("error")
    if error is None:
        log = home / "logs" / "supervisor.log"
        return SourceUnavailable("the supervisor ended while starting", remedy=f"read {log}")
    kind = ConfigError if error["kind"] == ConfigError.kind else SourceUnavailable
    return kind(error["error"], remedy=error["remedy"])


def _stop(home: Path, supervisor: ProcessIdentity | None = None) -> None:
    """Have the supervisor stop the stack; do its work where it is gone or does not answer."""
    state = _read_state(home)
    supervisor = supervisor or _identity((state or {}).get("supervisor"))
    if supervisor is not None and supervisor.alive:
        os.kill(supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + _LONGEST_STOP_SECONDS
        while supervisor.alive and time.monotonic() < deadline:
            time.sleep(0.1)
    _launched[:] = [process for process in _launched if process.poll() is None]
    state = _read_state(home)
    if state is None:
        return
    leaders = [supervisor] if supervisor is not None else []
    for component in state["components"].values():
        current = _identity(component)
        leaders += [current] if current is not None else []
        leaders += [ProcessIdentity(pid, started) for pid, started in component["past"]]
    stop_sessions(leaders, token=state["token"])
    if state["postgres"] is not None:
        stop_if_unused(home / "postgres")
    state_file(home).unlink(missing_ok=True)


def _stay(settings: Settings, say: Say) -> None:
    say("Ctrl-C stops the stack")
    try:
        while _is_up(settings.home):
            time.sleep(1.0)
        say("the stack was stopped by somebody else")
    except KeyboardInterrupt:
        down(settings, say=say)


def _is_up(home: Path) -> bool:
    state = _read_state(home)
    supervisor = _identity((state or {}).get("supervisor"))
    return (
        state is not None and state["phase"] == "up" and supervisor is not None and supervisor.alive
    )


def _read_state(home: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(state_file(home).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _identity(entry: dict[str, Any] | None) -> ProcessIdentity | None:
    if entry is None or entry["pid"] is None:
        return None
    return ProcessIdentity(entry["pid"], entry["started"])


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home's turn to start or stop the stack; refuse to wait for somebody else's."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "run" / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(
            f"another command is starting or stopping the stack of {home}",
            remedy="wait for it to end, then look at `hourglass status`",
        ) from None
    finally:
        os.close(lock)


def _refuse_taken_ports(settings: Settings) -> None:
    stack = settings.stack
    for key, port in (
        ("stack.airflow_port", stack.airflow_port),
        ("stack.mlflow_port", stack.mlflow_port),
    ):
        with socket.socket(socket.AF_INET6 if ":" in stack.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((stack.host, port))
            except OSError as error:
                raise ConfigError(
                    f"port {port} of {stack.host} ({key}) cannot be used: {error.strerror}{_holder(port)}",
                    remedy=f"stop what uses it, or set {key} to another port",
                ) from None


def _holder(port: int) -> str:
    """Name the process that listens on `port`, where this user may know."""
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr[1:2] == (port,) and found.pid:
                return f", by process {found.pid} ({psutil.Process(found.pid).name()})"
    return ""
