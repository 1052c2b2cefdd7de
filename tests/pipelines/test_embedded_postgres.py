import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from pipelines import embedded_postgres
from pipelines.embedded_postgres import EmbeddedServer, postmaster_pid, stop_if_unused

pytestmark = pytest.mark.stack


def _answer(server: EmbeddedServer) -> int:
    with psycopg.connect(server.get_uri()) as connection:
        row = connection.execute("SELECT 40 + 2").fetchone()
    assert row is not None
    return row[0]


def _join_elsewhere(data_folder: Path) -> subprocess.Popen[str]:
    """Start a process that joins the server, says so, and leaves when its input closes."""
    code = (
        "import sys; from pathlib import Path; from pipelines.embedded_postgres import EmbeddedServer;"
        "EmbeddedServer(Path(sys.argv[1])); print('joined', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "joined\n"
    return process


def test_a_server_whose_path_has_spaces_and_quotes_answers(server_path: Path) -> None:
    server = EmbeddedServer(server_path / "my 'own' home, 100%" / "postgres")
    try:
        assert _answer(server) == 42
        assert " " not in server.get_uri()
    finally:
        server.cleanup()
    assert postmaster_pid(server.data_folder) is None
    assert not Path(server.get_uri().partition("host=")[2]).exists()


def test_the_server_lives_until_its_last_user_leaves(server_path: Path) -> None:
    data = server_path / "postgres"
    first = EmbeddedServer(data)
    other = _join_elsewhere(data)
    first.cleanup()
    assert not stop_if_unused(data)
    assert postmaster_pid(data) is not None
    other.communicate(timeout=60)
    assert postmaster_pid(data) is None


def test_a_killed_user_does_not_keep_the_server_and_a_killed_server_comes_back(
    server_path: Path,
) -> None:
    data = server_path / "postgres"
    server = EmbeddedServer(data)
    other = _join_elsewhere(data)
    other.kill()
    other.communicate(timeout=60)
    for _ in range(3):
        pid = postmaster_pid(data)
        assert pid is not None
        psutil.Process(pid).kill()
        # Dead, it is still there until somebody reaps it, and is not waited for.
        while postmaster_pid(data) is not None:
            time.sleep(0.001)
        server.join()
        assert postmaster_pid(data) not in (None, pid)
        assert _answer(server) == 42
    server.cleanup()
    assert postmaster_pid(data) is None


@pytest.mark.parametrize("left", ["starting", "stopping"])
def test_a_server_that_a_killed_process_left_half_way_is_waited_for(
    server_path: Path, left: str
) -> None:
    data = server_path / "postgres"

    def by_hand(*words: str) -> None:
        with (server_path / "none").open("w") as none:
            command = ("pg_ctl", "-W", "-D", str(data), *words)
            embedded_postgres._run(*command, keep_open=none.fileno())

    server = EmbeddedServer(data)
    if left == "starting":
        postmaster = psutil.Process(postmaster_pid(data))
        postmaster.kill()
        postmaster.wait(10)
        server.cleanup()
        by_hand("-l", str(data / "log"), "-o", f"-h '' -k {data}", "start")
        while postmaster_pid(data) is None:
            time.sleep(0.001)
    else:
        by_hand("-m", "fast", "stop")
        while embedded_postgres._status(data) == "ready":
            time.sleep(0.001)
    joined = EmbeddedServer(data)
    assert _answer(joined) == 42
    joined.cleanup()
    server.cleanup()


@pytest.mark.parametrize("what", ["initdb", "start", "stop"])
def test_a_tool_that_outlives_its_killed_process_is_let_end_first(
    server_path: Path, what: str
) -> None:
    """The tools are slow to begin, so what they do comes after the folder was first read."""
    data, slow = server_path / "postgres", server_path / "slow"
    if what != "initdb":
        EmbeddedServer(data).cleanup()
    slow.mkdir(mode=0o755)
    begun = slow / "begun"
    begun.touch()
    begun.chmod(0o666)
    for tool in ("initdb", "pg_ctl"):
        real = embedded_postgres._binaries() / tool
        (slow / tool).write_text(
            f'#!/bin/sh\ncase "{tool} $*" in *{what}*) echo > {begun}; sleep 1;; esac\n'
            f'exec {real} "$@"\n'
        )
        (slow / tool).chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from pipelines import embedded_postgres as e;"
        "slow, data = map(Path, sys.argv[1:]); e._binaries = lambda: slow; e.EmbeddedServer(data)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(slow), str(data)])
    while not begun.stat().st_size:
        time.sleep(0.001)
    killed.kill()
    killed.wait(10)
    joined = EmbeddedServer(data)
    time.sleep(1.2)
    assert _answer(joined) == 42
    assert "FATAL" not in (data / "postgres.log").read_text()
    joined.cleanup()


def test_an_initialisation_killed_half_way_is_done_again(server_path: Path) -> None:
    (server_path / "postgres.new").mkdir()
    (server_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(server_path / "postgres")
    assert _answer(server) == 42
    server.cleanup()


def test_lock_files_that_name_another_process_are_not_believed(server_path: Path) -> None:
    data = server_path / "postgres"
    EmbeddedServer(data).cleanup()
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / name).write_text(f"{os.getpid()}\n{data}\n0\n5432\n{data}\n\n0 0\nready\n")
    assert postmaster_pid(data) is None
    server = EmbeddedServer(data)
    assert _answer(server) == 42
    server.cleanup()


def test_a_socket_folder_is_safe_in_a_url_and_short_enough_for_the_kernel() -> None:
    assert embedded_postgres._socket_folder(Path("/home/a/h/postgres")) == Path(
        "/home/a/h/postgres"
    )
    for path in (Path("/a b/postgres"), Path("/" + "x" * 120 + "/postgres")):
        folder = embedded_postgres._socket_folder(path)
        assert folder.parent == Path("/tmp")
        assert len(str(folder)) < 40
