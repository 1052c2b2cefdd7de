"""Backup and restore on a real PostgreSQL: whole or refused, verified, one transaction."""

import hashlib
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.backup import backup, restore
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.ledger import Ledger
from pipelines.ledger.schema import metadata
from pipelines.settings import load_settings

LEDGER_TESTS = Path(__file__).resolve().parents[1] / "ledger"
AT = datetime(2024, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="session")
def lively() -> ModuleType:
    """The books of tests/pipelines/ledger/lively_books.py."""
    path = LEDGER_TESTS / "lively_books.py"
    spec = importlib.util.spec_from_file_location("lively_books_of_backups", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def context(home: Path, postgres: str, ledger_url: str) -> Iterator[Context]:
    settings = load_settings({"home": str(home), "database_url": postgres}, environ={})
    with Context(settings) as context:
        assert context.databases.ledger == ledger_url
        yield context


@pytest.fixture
def traded(context: Context, lively: Any) -> Ledger:
    """A ledger with two books, a pause and a promotion."""
    ledger = context.ledger
    ledger.promote(
        "1", effective_from=lively.START + HOUR, kind="first", reason="first", decided_by="train"
    )
    for version in ("1", "2"):
        lively.trade(ledger, lively.open_model(ledger, version), 1, 5)
    ledger.control("pause", ["model-2"], step=HOUR, reason="news", decided_by="ann")
    return ledger


def everything(ledger: Ledger) -> dict[str, list[str]]:
    with ledger._engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(sa.select(table))))
            for name, table in metadata.tables.items()
        }


def empty(ledger: Ledger) -> None:
    with ledger._owner.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        for name in metadata.tables:
            connection.execute(sa.text(f"DELETE FROM {name}"))


@pytest.mark.parametrize("name", ["copy.tar.zst", "copy"])
def test_what_was_backed_up_is_restored_to_the_last_stamp(
    name: str, context: Context, traded: Ledger, tmp_path: Path
) -> None:
    before = everything(traded)
    made = backup(context, tmp_path / "deep" / name, AT)
    assert made["findings"] == []
    assert made["rows"] == traded.counts()
    empty(traded)
    told = restore(context, tmp_path / "deep" / name, AT)
    assert (told["rows"], told["chain_head"], told["replaced"]) == (
        made["rows"], made["chain_head"], None,
    )  # fmt: skip
    assert everything(traded) == before
    assert traded.verify() == []
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [name]


def test_a_restored_ledger_trades_on(
    context: Context, traded: Ledger, lively: Any, tmp_path: Path
) -> None:
    backup(context, tmp_path / "b", AT)
    lively.trade(traded, traded.books()[0], 6, 8)
    later = everything(traded)
    told = restore(context, tmp_path / "b", AT, replace=True)
    lively.trade(traded, traded.books()[0], 6, 8)
    without_stamps = {
        name: rows for name, rows in later.items() if name in ("fills", "postings", "equity")
    }
    assert {name: everything(traded)[name] for name in without_stamps} == without_stamps
    assert traded.verify() == []
    # What was replaced is not lost.
    assert restore(context, Path(told["replaced"]), AT, replace=True)["rows"]["equity"] == 2 * 5 + 3
    assert everything(traded) == later


def test_a_backup_of_schema_0001_is_restored_and_verifies(context: Context) -> None:
    told = restore(context, LEDGER_TESTS / "at_0001", AT)
    assert told["schema"] == "0001"
    assert context.ledger.verify() == []
    assert context.ledger.counts()["equity"] == 16


def test_a_ledger_that_is_not_empty_is_not_replaced_unasked(
    context: Context, traded: Ledger, tmp_path: Path
) -> None:
    backup(context, tmp_path / "b", AT)
    before = everything(traded)
    with pytest.raises(ContractViolation, match="not empty: 2 books"):
        restore(context, tmp_path / "b", AT)
    assert everything(traded) == before
    assert not (context.settings.home / "backups").exists()


def test_a_backup_is_consistent_while_another_writes(
    context: Context, lively: Any, tmp_path: Path, ledger_url: str
) -> None:
    book = lively.open_model(context.ledger)
    lively.trade(context.ledger, book, 1, 2)
    other = Ledger(ledger_url)
    scheduler = threading.Thread(target=lambda: lively.trade(other, book, 3, 20))

    def progress(done: int, total: int, text: str) -> None:
        if done == 2:
            scheduler.start()
            scheduler.join()

    made = backup(context, tmp_path / "b", AT, progress)
    other.close()
    assert (made["rows"]["equity"], made["findings"]) == (2, [])
    assert context.ledger.counts()["equity"] == 20


def damage(change: Callable[[Path], None], context: Context, folder: Path) -> Path:
    backup(context, folder, AT)
    change(folder)
    return folder


def _manifest(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**told, key: value}))

    return change


def _append(folder: Path) -> None:
    with (folder / "fills.copy").open("ab") as file:
        file.write(b"x\n")


def _flip(folder: Path) -> None:
    text = (folder / "postings.copy").read_bytes()
    (folder / "postings.copy").write_bytes(text.replace(b"cash", b"cosh", 1))


def _consistent_forgery(folder: Path) -> None:
    """Change an amount and make the manifest agree: only the chain knows."""
    text = (folder / "fills.copy").read_bytes().replace(b"market", b"limit", 1)
    (folder / "fills.copy").write_bytes(text)
    told = json.loads((folder / "manifest.json").read_text())
    told["tables"]["fills"]["sha256"] = hashlib.sha256(text).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_append, r"fills\.copy is not what manifest\.json says"),
        (_flip, r"postings\.copy is not what"),
        (lambda folder: (folder / "audit.copy").unlink(), r"audit\.copy is missing"),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            r"manifest\.json is missing or damaged",
        ),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "missing or damaged"),
        (_manifest("schema_revision", "0004"), r"is of a newer Hourglass: format 1, schema 0004"),
        (_manifest("format", 2), "is of a newer Hourglass: format 2"),
        (_manifest("tables", {}), "does not name"),
        (_manifest("chain_head", None), "the audit chain ends in"),
        (_consistent_forgery, "are not those that were traded"),
    ],
)
def test_a_damaged_forged_or_newer_backup_is_refused_by_name_and_nothing_is_written(
    change: Callable[[Path], None], said: str, context: Context, traded: Ledger, tmp_path: Path
) -> None:
    folder = damage(change, context, tmp_path / "copy")
    empty(traded)
    with pytest.raises(ContractViolation, match=said):
        restore(context, folder, AT)
    assert set(traded.counts().values()) == {0}


def test_an_archive_that_was_cut_short_or_is_none_is_refused_by_name(
    context: Context, traded: Ledger, tmp_path: Path
) -> None:
    backup(context, tmp_path / "b.tar.zst", AT)
    before = everything(traded)
    whole = (tmp_path / "b.tar.zst").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "none": b"not an archive" * 99}.items():
        path = tmp_path / f"{name}.tar.zst"
        path.write_bytes(content)
        with pytest.raises(ContractViolation, match=rf"{name}\.tar\.zst is damaged"):
            restore(context, path, AT, replace=True)
    assert everything(traded) == before


def test_a_broken_ledger_is_backed_up_and_says_so(
    context: Context, traded: Ledger, tmp_path: Path
) -> None:
    with traded._owner.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(sa.text("UPDATE signals SET sigma = 9"))
    made = backup(context, tmp_path / "b", AT)
    assert made["findings"]
    with pytest.raises(ContractViolation, match="does not verify"):
        restore(context, tmp_path / "b", AT, replace=True)


def test_names_that_are_taken_or_of_another_kind_are_refused(
    context: Context, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="taken exists"):
        backup(context, tmp_path / "taken", AT)
    with pytest.raises(ConfigError, match=r"b\.tar\.gz is no backup's name"):
        backup(context, tmp_path / "b.tar.gz", AT)
    with pytest.raises(ConfigError, match="does not exist"):
        restore(context, tmp_path / "nothing", AT)


def test_a_backup_that_fails_leaves_nothing(
    context: Context, traded: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.backup.writing.pack", power_cut)
    with pytest.raises(KeyboardInterrupt):
        backup(context, tmp_path / "b" / "c.tar.zst", AT)
    assert list((tmp_path / "b").iterdir()) == []
