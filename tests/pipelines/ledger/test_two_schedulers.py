"""Two schedulers by mistake: each hour is written once, whoever comes first."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.ledger import Ledger
from pipelines.ledger.schema import equity

HOURS = 12
SCRIPT = Path(__file__).resolve().parent / "lively_books.py"


def hours_of(ledger: Ledger) -> int:
    with ledger._engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(equity)) or 0


def test_two_ledgers_in_two_threads_write_every_hour_once(
    ledger: Ledger, url: str, lively: Any
) -> None:
    book = lively.open_model(ledger)
    others = [Ledger(url), Ledger(url)]
    traded: list[int] = []
    threads = [
        threading.Thread(target=lambda own=own: traded.append(lively.trade(own, book, 1, HOURS)))
        for own in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in others:
        own.close()
    assert sum(traded) == hours_of(ledger) == HOURS
    assert ledger.verify() == []


@pytest.mark.slow
def test_two_processes_write_every_hour_once(ledger: Ledger, url: str, lively: Any) -> None:
    lively.open_model(ledger)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SCRIPT), url, "model-1", str(HOURS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    traded = [int(process.communicate(timeout=240)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(traded) == hours_of(ledger) == HOURS
    assert ledger.verify() == []
