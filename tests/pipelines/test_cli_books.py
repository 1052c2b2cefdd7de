"""The verbs about books and their ledger, as a person and as a program calls them."""

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.cli import main

OLD = Path(__file__).resolve().parent / "ledger" / "at_0001"

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(
    home: Path,
    postgres: str,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Call:
    """`call(*words)`: the exit code and what stands on stdout, over a ledger two books traded."""
    assert ledger_url
    monkeypatch.setenv("HOURGLASS_HOME", str(home))
    monkeypatch.setenv("HOURGLASS_DATABASE_URL", postgres)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return int(left.value.code or 0), capfd.readouterr().out

    assert run("restore", "--from", str(OLD))[0] == 0
    return run


def answer(call: Call, *words: str) -> Any:
    code, out = call(*words, "--json")
    assert code == 0
    return json.loads(out)


def test_a_book_is_paused_and_resumed_by_name_with_a_reason(call: Call) -> None:
    told = answer(call, "pause", "--book", "model-1", "--reason", "news", "--by", "ann")
    assert told["detail"]["decided_by"] == "ann"
    assert told["detail"]["books"] == [
        {"book": "model-1", "mode": "pause", "effective_from": "2024-06-01T09:00Z", "changed": True}
    ]
    assert call("pause", "--book", "model-1", "--reason", "x")[1] == (
        "model-1: pause already, since 2024-06-01T09:00Z\n"
    )
    modes = {b["book"]: b["mode"] for b in answer(call, "status")["books"]}
    assert modes == {"model-1": "pause", "model-2": "run"}
    told = answer(call, "resume", "--all")
    assert told["detail"]["reason"] == "by hand, no reason given"
    assert told["detail"]["decided_by"] == getpass.getuser()
    assert [b["changed"] for b in told["detail"]["books"]] == [True, False]


@pytest.mark.parametrize(
    "words",
    [
        ("liquidate", "--reason", "x"),
        ("liquidate", "--book", "model-1", "--all", "--reason", "x"),
        ("liquidate", "--all", "--reason", " "),
        ("liquidate", "--book", "model-7", "--reason", "x"),
        ("gains", "--book", "model-7"),
        ("restore", "--from", "nothing"),
    ],
)
def test_wrong_words_leave_with_two(words: tuple[str, ...], call: Call) -> None:
    assert call(*words)[0] == 2


def test_gains_are_csv_on_stdout_or_in_a_file(call: Call, tmp_path: Path) -> None:
    code, out = call("gains", "--book", "model-1", "--year", "2024")
    assert code == 0
    assert len(out.splitlines()) == 1 + 4
    assert call("gains", "--book", "model-1", "--csv", str(tmp_path / "gains.csv"))[0] == 0
    assert (tmp_path / "gains.csv").read_text() == out
    told = answer(call, "gains", "--book", "model-1")
    assert (told["gain"], len(told["rows"])) == ("-1253.64118514", 4)
    assert answer(call, "gains", "--book", "model-1", "--year", "2023")["rows"] == []


def test_backup_restore_and_verify_make_a_circle(call: Call, tmp_path: Path) -> None:
    made = answer(call, "backup", "--to", str(tmp_path / "b.tar.zst"))
    assert call("restore", "--from", str(tmp_path / "b.tar.zst"))[0] == 3
    told = answer(call, "restore", "--from", str(tmp_path / "b.tar.zst"), "--replace")
    assert told["rows"] == made["rows"]
    assert Path(told["replaced"]).is_file()
    verified = answer(call, "verify")
    assert (verified["ok"], verified["findings"]) == (True, [])
    assert verified["counts"] == made["rows"]
    assert answer(call, "journal", "--book", "model-1") == []


def test_a_ledger_that_was_changed_leaves_with_three(call: Call, ledger_url: str) -> None:
    engine = sa.create_engine(ledger_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(sa.text("UPDATE fills SET price = price * 2"))
    code, out = call("verify", "--json")
    told = json.loads(out)
    assert (code, told["ok"]) == (3, False)
    assert any("are not those that were traded" in finding for finding in told["findings"])
    code, out = call("verify")
    assert code == 3
    assert "NOT AS IT WAS WRITTEN" in out
