import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
