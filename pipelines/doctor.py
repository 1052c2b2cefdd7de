"""`hourglass doctor`: is everything there that Hourglass needs, and how to mend what is not."""

import shutil
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import clock
from pipelines.context import Context
from pipelines.errors import HourglassError, SourceUnavailable, policy_error
from pipelines.settings import Settings

_LEAST_FREE_BYTES = 2 * 1024**3
_LARGEST_SKEW_SECONDS = 5.0
# `hourglass verify` compares every hour with the audit chain.
_LEDGER_LOOKED_AT = timedelta(days=7)
# What is not asked where the other did not answer.
_NEEDS = {"ledger": "database", "mlflow": "database", "clock_skew": "exchange"}


class _Unwell(Exception):
    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


def diagnose(settings: Settings) -> list[dict[str, Any]]:
    """Run every check and return rows ``{"check", "ok", "found", "remedy"}``; never raises."""
    silent: set[str] = set()
    with Context(settings) as context:
        return [_examine(name, check, context, silent) for name, check in CHECKS.items()]


def _examine(
    name: str, check: Callable[[Context], str], context: Context, silent: set[str]
) -> dict[str, Any]:
    if (needed := _NEEDS.get(name)) in silent:
        found, remedy = f"not looked at without the {needed}", f"mend the {needed} first"
        return {"check": name, "ok": False, "found": found, "remedy": remedy}
    try:
        return {"check": name, "ok": True, "found": check(context), "remedy": ""}
    except _Unwell as unwell:
        return {"check": name, "ok": False, "found": unwell.found, "remedy": unwell.remedy}
    except Exception as error:
        known: HourglassError | None = policy_error(error)
        if isinstance(known, SourceUnavailable):
            silent.add(name)
        found = known.message if known else f"{type(error).__name__}: {error}"
        remedy = known.remedy if known else "this is a bug: report it with the log"
        return {"check": name, "ok": False, "found": found, "remedy": remedy}


def _python(_: Context) -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        raise _Unwell(found, "install Python 3.11 and run `make setup`")
    return found


def _disk(context: Context) -> str:
    folder = context.settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / 1024**3:.1f} GiB free under {folder}"
    if free < _LEAST_FREE_BYTES:
        raise _Unwell(found, "free space, or put HOURGLASS_HOME on another disk")
    return found


def _home(context: Context) -> str:
    home = context.settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".doctor"
        probe.write_text("ok")
        probe.unlink()
    except OSError as error:
        raise _Unwell(
            f"{home}: {error.strerror}", "make the folder writable, or set HOURGLASS_HOME"
        ) from None
    return str(home)


def _database(context: Context) -> str:
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.connect() as connection:
        server = connection.scalar(sa.text("SHOW server_version"))
    where = "database_url" if context.settings.database_url else "embedded"
    return f"PostgreSQL {server}, {where}"


def _ledger(context: Context) -> str:
    ledger = context.ledger
    newest = ledger.last_traded_at()
    findings = ledger.verify(since=newest and newest - _LEDGER_LOOKED_AT)
    if findings:
        raise _Unwell(
            "; ".join(findings[:3]),
            "do not trade; `hourglass verify` lists all, `hourglass restore` puts a backup back",
        )
    if ledger.append_only_by_right:
        return "balanced, audit chain intact, append-only by right"
    return (
        "balanced, audit chain intact, append-only by triggers alone: this login may create no role"
    )


def _lake(context: Context) -> str:
    tables = context.lake.describe()
    size = sum(info.bytes for info in tables)
    return f"{len(tables)} tables, {size / 1024**2:.1f} MiB at {context.settings.lake_uri}"


def _mlflow(context: Context) -> str:
    versions = context.registry.versions()
    where = context.settings.mlflow.tracking_uri or "its database"
    return f"mlflow {version('mlflow')}, {len(versions)} model versions, through {where}"


def _airflow(_: Context) -> str:
    from pipelines.stack.lifecycle import dags_folder

    folder = dags_folder()
    found = sorted(path.stem for path in folder.glob("[!_]*.py"))
    return f"airflow {version('apache-airflow')}, DAGs {', '.join(found)}"


def _exchange(context: Context) -> str:
    context.source.check_symbols(context.settings.universe)
    where = context.settings.exchange.base_url or "the venue"
    return f"{context.settings.venue} through {where}: {len(context.settings.universe)} symbols"


def _clock_skew(context: Context) -> str:
    here = clock.now()
    there = context.source.server_time()
    skew = (there - here).total_seconds()
    if context.settings.exchange.base_url is not None:
        return f"{clock.format_instant(there)} at exchange.base_url, which may choose"
    found = f"{skew:+.1f} s against the venue"
    if abs(skew) > _LARGEST_SKEW_SECONDS:
        raise _Unwell(found, "synchronise this machine's clock (NTP)")
    return found


def _ports(context: Context) -> str:
    from pipelines.stack.lifecycle import status

    stack = context.settings.stack
    if status(context.settings):
        return "in use by this home's own stack"
    busy = [
        f"{key} {port}"
        for key, port in (
            ("stack.airflow_port", stack.airflow_port),
            ("stack.mlflow_port", stack.mlflow_port),
        )
        if _answers(stack.host, port)
    ]
    if busy:
        raise _Unwell(f"in use: {', '.join(busy)}", "stop what uses them, or set other ports")
    return f"{stack.airflow_port} and {stack.mlflow_port} are free"


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def _configuration(context: Context) -> str:
    shipped = context.settings.home / "hourglass.yaml"
    return str(shipped) if Path(shipped).is_file() else "config/hourglass.yaml and the environment"


CHECKS: dict[str, Callable[[Context], str]] = {
    "python": _python,
    "configuration": _configuration,
    "home": _home,
    "disk": _disk,
    "database": _database,
    "ledger": _ledger,
    "lake": _lake,
    "mlflow": _mlflow,
    "airflow": _airflow,
    "ports": _ports,
    "exchange": _exchange,
    "clock_skew": _clock_skew,
}
