import pytest

from serving.compiled import cached, compiled, fingerprint_of
from serving.desk import Desk
from serving.engine import step

FACTOR = 2


@compiled
def inner(x: float) -> float:
    return x * FACTOR


@compiled
def outer(x: float) -> float:
    return inner(x) + 1.0


def test_kernels_compute_what_they_say() -> None:
    assert outer(3.0) == 7.0


def test_the_fingerprint_changes_with_a_callee_a_constant_and_a_field(monkeypatch) -> None:
    before = fingerprint_of(outer, Desk)

    @compiled
    def other(x: float) -> float:
        return x * FACTOR + 0.5

    monkeypatch.setitem(globals(), "inner", other)
    assert fingerprint_of(outer, Desk) != before
    monkeypatch.undo()
    assert fingerprint_of(outer, Desk) == before
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert fingerprint_of(outer, Desk) != before
    monkeypatch.undo()
    assert fingerprint_of(outer) != before


def test_the_engine_has_one_fingerprint_in_one_version() -> None:
    assert fingerprint_of(step, Desk) == fingerprint_of(step, Desk)


def test_a_cached_kernel_without_a_fingerprint_is_refused() -> None:
    with pytest.raises(ValueError, match="without a fingerprint"):
        cached(lambda x: x)
