import copy
import errno

import pytest
import requests
import sqlalchemy as sa
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException, RestException
from optuna.exceptions import StorageInternalError

from pipelines.errors import (
    ConfigError,
    ContractViolation,
    HourglassError,
    SourceUnavailable,
    policy_error,
    root_reason,
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


def raised(error: Exception, cause: Exception) -> Exception:
    """Return `error` as a library raises it on `cause`."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_what_mlflow_and_optuna_wrap_is_judged_by_what_is_inside_and_the_rest_is_a_bug() -> None:
    lost = sa.exc.OperationalError("SELECT 1", {}, Exception("server closed"))
    refused = requests.ConnectionError("HTTPConnectionPool(host='127.0.0.1', port=5000)")
    worlds = [
        raised(StorageInternalError("An exception is raised during the commit."), lost),
        raised(MlflowException("(psycopg.OperationalError) server closed"), lost),
        raised(MlflowException("API request failed with exception"), refused),
        MlflowException("API request to endpoint /x failed with error code 503 != 200. Body: 'x'"),
        RestException({"error_code": "INTERNAL_ERROR", "message": "the store is gone"}),
        requests.ReadTimeout("no answer in 120 s"),
    ]
    for error in worlds:
        assert isinstance(policy_error(error), SourceUnavailable), error
    bugs = [
        MlflowException("Invalid parameter", error_code=INVALID_PARAMETER_VALUE),
        RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}),
        raised(StorageInternalError("commit"), ValueError("too long")),
        raised(ValueError("mine"), refused),
    ]
    for error in bugs:
        assert policy_error(error) is None, error


def test_the_innermost_reason_of_a_failure_is_told_in_words() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert root_reason(raised(MlflowException("API request"), refused)) == "Connection refused"
    assert root_reason(ValueError("first\nsecond")) == "first"
    assert root_reason(ValueError()) == "ValueError"
