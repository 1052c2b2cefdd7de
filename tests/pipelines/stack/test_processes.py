import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pipelines.stack.processes import TOKEN_VARIABLE, ProcessIdentity, start_session, stop_sessions

# A leader with a follower in its session and a grandchild that left it for a session of its own.
FAMILY = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
followers = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print(*(f.pid for f in followers), flush=True)
time.sleep(300)
"""


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start_family(
    folder: Path, token: str
) -> tuple[ProcessIdentity, list[int], "subprocess.Popen[bytes]"]:
    log = folder / "family.log"
    process = start_session(
        (sys.executable, "-c", FAMILY),
        environment={**os.environ, TOKEN_VARIABLE: token},
        folder=folder,
        log=log,
    )
    _wait_for(lambda: len(log.read_text().split()) == 2)
    return ProcessIdentity.of(process.pid), [int(pid) for pid in log.read_text().split()], process


def test_stopping_a_session_ends_its_followers_and_the_bearers_of_its_token(tmp_path: Path) -> None:
    leader, followers, process = _start_family(tmp_path / "a folder", "token-one")
    bystander, others, other = _start_family(tmp_path / "b", "token-two")
    stop_sessions([leader], token="token-one", patience_seconds=2.0)
    process.wait(5)
    assert not any(_runs(pid) for pid in followers)
    assert bystander.alive
    assert all(_runs(pid) for pid in others)
    stop_sessions([bystander], token="token-two", patience_seconds=2.0)
    other.wait(5)
    assert not any(_runs(pid) for pid in others)


def test_followers_of_a_killed_leader_are_found_by_their_session(tmp_path: Path) -> None:
    leader, followers, process = _start_family(tmp_path, "token-three")
    process.kill()
    process.wait(5)
    assert not leader.alive
    assert _runs(followers[0])
    stop_sessions([leader], patience_seconds=1.0)
    assert not _runs(followers[0])
    assert _runs(followers[1]), "without the token, who left the session is nobody's"
    stop_sessions([], token="token-three", patience_seconds=1.0)
    assert not _runs(followers[1])


def test_a_pid_that_was_given_to_somebody_else_is_never_signalled(tmp_path: Path) -> None:
    stranger, followers, process = _start_family(tmp_path, "token-four")
    before = ProcessIdentity(stranger.pid, stranger.started - 3600.0)
    assert not before.alive
    stop_sessions([before], patience_seconds=0.5)
    assert stranger.alive
    assert all(_runs(pid) for pid in followers)
    stop_sessions([stranger], token="token-four", patience_seconds=1.0)
    process.wait(5)


def test_a_process_that_will_not_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(300)"
    process = start_session(
        (sys.executable, "-c", stubborn), environment=os.environ, folder=tmp_path, log=log
    )
    _wait_for(lambda: log.read_text() == "ready\n")
    stop_sessions([ProcessIdentity.of(process.pid)], patience_seconds=0.3)
    assert process.wait(5) == -9


def test_a_log_that_grew_too_large_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "big.log"
    with log.open("wb") as file:
        file.truncate(51 * 1024**2)
    start_session(("true",), environment=os.environ, folder=tmp_path, log=log).wait(5)
    assert log.stat().st_size == 0
    assert (tmp_path / "big.old.log").stat().st_size == 51 * 1024**2
