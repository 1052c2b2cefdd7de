import copy
import errno

import pytest
import sqlalchemy as sa

from pipelines.errors import (
    ConfigError,
    ContractViolation,
    HourglassError,
    SourceUnavailable,
    policy_error,
)


@pytest.mark.parametrize(
    ("cls", "kind", "code"),
    [
        (ConfigError, "config", 2),
        (ContractViolation, "contract_violation", 3),
        (SourceUnavailable, "source_unavailable", 4),
    ],
)
def test_every_class_carries_its_policy_its_remedy_and_survives_a_copy(
    cls: type[HourglassError], kind: str, code: int
) -> None:
    error = cls("3 rows broke", remedy="rerun")
    assert (error.kind, error.exit_code, str(error)) == (kind, code, "3 rows broke; rerun")
    again = copy.copy(error)
    assert (type(again), again.message, again.remedy) == (cls, "3 rows broke", "rerun")


def test_a_full_disk_and_a_lost_database_are_the_worlds_and_the_rest_is_a_bug() -> None:
    full = policy_error(OSError(errno.ENOSPC, "No space left on device", "/lake/part.parquet"))
    assert isinstance(full, SourceUnavailable)
    assert "part.parquet" in full.message
    lost = policy_error(sa.exc.OperationalError("SELECT 1", {}, Exception("server closed\nmore")))
    assert isinstance(lost, SourceUnavailable)
    assert lost.message == "the database did not answer: server closed"
    assert policy_error(ValueError("x")) is None
    known = ConfigError("x")
    assert policy_error(known) is known
