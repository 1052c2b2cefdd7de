import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.cli.output import console, print_rows, print_tree
from pipelines.settings import known_keys


def run(*words: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person does."""
    program = "from pipelines.cli import main; main()"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HOURGLASS_")}
    environ |= {"HOURGLASS_HOME": str(home), **variables}
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env=environ,
        timeout=120,
        check=False,
    )


def test_config_says_where_every_key_comes_from(home: Path) -> None:
    answer = run("config", "--json", "--set", "training.search.trials=5", home=home)
    shown = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert list(shown) == known_keys()
    assert shown["home"] == {"value": str(home), "origin": "$HOURGLASS_HOME"}
    assert shown["training.search.trials"] == {"value": 5, "origin": "command line"}


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (["ingest-bars", "--as-of", "2024-01-01T00:30Z"], "off the 1h grid", "2024-01-01T00:00Z"),
        (["ingest-bars", "--as-of", "2999-01-01T00:00Z"], "is in the future", "or earlier"),
        (["ingest-bars", "--as-of", "soon"], "'soon' is not an instant", "2024-06-01T14:00Z"),
        (["replay", "--start", "2024-01-01T00:00Z"], "Missing option '--end'", "--help"),
        (["train", "--set", "training.serch.trials=5"], "not known", "training.search.trials"),
        (["nosuch"], "No such command 'nosuch'", "--help"),
        (["exchange", "--replay", ".", "--synthetic"], "exclude each other", "one of them"),
    ],
)
def test_wrong_usage_leaves_with_two_and_one_json_error(
    home: Path, words: list[str], message: str, remedy: str
) -> None:
    answer = run(*words, home=home)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert message in answer.stderr
    if "exchange" in words:
        return
    answer = run(*words, "--json", home=home)
    error = json.loads(answer.stderr)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert (error["kind"], set(error)) == ("config", {"error", "kind", "remedy"})
    assert message in error["error"]
    assert remedy in error["remedy"]


def test_a_misspelt_variable_is_refused_with_the_nearest_name(home: Path) -> None:
    answer = run("status", home=home, HOURGLASS_EXCHANGE__BASE_ULR="http://127.0.0.1:1")
    assert answer.returncode == 2
    assert "exchange.base_url" in answer.stderr


def test_without_a_database_the_ledger_is_a_source_unavailable(home: Path) -> None:
    nobody = "postgresql://127.0.0.1:1/postgres"
    answer = run("status", "--json", home=home, HOURGLASS_DATABASE_URL=nobody)
    error = json.loads(answer.stderr)
    assert (answer.returncode, error["kind"]) == (4, "source_unavailable")
    assert "embedded" in error["remedy"]


def test_without_a_verb_the_help_is_shown_and_version_says_which(home: Path) -> None:
    answer = run(home=home)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "Commands:" in answer.stderr
    assert "..." not in answer.stderr.split("Commands:")[1]
    answer = run("--version", home=home)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"hourglass {version('hourglass')}\n"


def test_a_list_is_json_on_the_command_line_too_and_null_unsets(home: Path) -> None:
    words = ["--set", 'universe=["BTC/KRW"]', "--set", "mlflow.tracking_uri=null"]
    shown = json.loads(run("config", "--json", *words, home=home).stdout)
    assert shown["universe"] == {"value": ["BTC/KRW"], "origin": "command line"}
    assert shown["mlflow.tracking_uri"] == {"value": None, "origin": "command line"}


def test_a_person_reads_numbers_and_nested_answers_line_by_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"name": "BTC/USDT", "rows": 8682, "share": 0.0612061}]
    print_tree({"bars": 1234567, "symbols": ["A", "B"], "none": None, "gates": rows})
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "bars     1,234,567",
        "symbols  A, B",
        "none     -",
        "gates",
        "  name       rows      share",
        "  BTC/USDT  8,682  0.0612061",
    ]
    print_rows([{f"column {i}": "x" * 30 for i in range(9)}])
    assert len(capsys.readouterr().out.splitlines()) == 2
    print_rows([])
    assert capsys.readouterr().out == "nothing yet\n"


def test_an_interrupted_command_says_so_in_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.cli.look.resolve_settings", lambda _: interrupted())
    with (
        pytest.raises(SystemExit) as left,
        console.capture() as captured,
    ):
        main(["config"])
    assert (left.value.code, captured.get()) == (130, "interrupted\n")
