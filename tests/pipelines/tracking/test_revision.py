import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.tracking import revision
from pipelines.tracking.revision import VARIABLE, source_revision


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    source_revision.cache_clear()
    yield
    source_revision.cache_clear()


def test_the_revision_of_a_clone_is_its_commit() -> None:
    if not (Path(revision.__file__).parents[2] / ".git").exists():
        pytest.skip("this is not a clone")
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", source_revision())


def test_the_containers_revision_is_the_one_they_were_built_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "abc")
    assert source_revision() == "abc"


def test_outside_a_repository_the_revision_is_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "pipelines" / "revision.py"))
    (tmp_path / "pipelines").mkdir()
    assert source_revision() == "unknown"
