"""Processes that outlive their parent: named by pid and start time, started and stopped by session.

A pid alone may by now name a stranger's process, so nothing here signals a pid without its start
time. Every long-lived process leads a session of its own, and stopping it stops the session.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# Carried by every process of one stack, inherited by its children.
TOKEN_VARIABLE = "STACK_OF_HOURGLASS"
# Two readings of one process's start differ by less; a recycled pid starts much later.
_SAME_START_SECONDS = 2.0
_LARGEST_LOG = 50 * 1024**2


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, beyond doubt: its pid and when it started (seconds since the epoch)."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Identify a process that runs; psutil.NoSuchProcess if none does."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether that very process runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            return self._is(process) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _is(self, process: psutil.Process) -> bool:
        return abs(process.create_time() - self.started) < _SAME_START_SECONDS


def start_session(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a new session, its output appended to `log`.

    `keep_open` are file descriptors it inherits (the lock that counts users of the database).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_file() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".old.log"))
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )


def stop_sessions(
    leaders: Iterable[ProcessIdentity], *, token: str = "", patience_seconds: float = 10.0
) -> None:
    """Ask the leaders to end, then end what is left of their sessions and of the token's bearers.

    Parameters
    ----------
    leaders : iterable of ProcessIdentity
        Leaders of sessions, alive or not: a dead leader's followers are found by their session.
    token : str, optional
        Value of `TOKEN_VARIABLE`; processes that carry it are ended wherever they went.
    patience_seconds : float
        How long they may take to end by themselves.
    """
    leaders = list(leaders)
    for leader in leaders:
        _signal([psutil.Process(leader.pid)] if leader.alive else [], signal.SIGTERM)
    _wait(lambda: not any(leader.alive for leader in leaders), patience_seconds)
    _signal(_members(leaders, token), signal.SIGTERM)
    _wait(lambda: not _members(leaders, token), patience_seconds / 5)
    for _ in range(50):
        left = _members(leaders, token)
        if not left:
            return
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)


def _members(leaders: Sequence[ProcessIdentity], token: str) -> list[psutil.Process]:
    return list(_find_members({leader.pid: leader for leader in leaders}, token))


def _find_members(leaders: Mapping[int, ProcessIdentity], token: str) -> Iterator[psutil.Process]:
    ourselves = os.getpid()
    for process in psutil.process_iter():
        try:
            if process.pid == ourselves or process.status() == psutil.STATUS_ZOMBIE:
                continue
            leader = leaders.get(os.getsid(process.pid))
            if (leader is not None and _follows(process, leader)) or _bears(process, token):
                yield process
        except (psutil.Error, OSError):
            continue


def _follows(process: psutil.Process, leader: ProcessIdentity) -> bool:
    """Say whether `process`, of the session `leader.pid`, is of that leader and not of a later one."""
    if psutil.pid_exists(leader.pid) and not leader.alive:
        # Either the leader is a zombie, and the session its own, or its pid was given away.
        return leader._is(psutil.Process(leader.pid))
    return process.create_time() >= leader.started - _SAME_START_SECONDS


def _bears(process: psutil.Process, token: str) -> bool:
    return bool(token) and process.environ().get(TOKEN_VARIABLE) == token


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
