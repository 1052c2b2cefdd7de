"""The two classes that carry policy, and the exit codes they become.

Everything that is not one of these is a bug and surfaces as itself.
"""

import errno
import re
from collections.abc import Iterator


class HourglassError(Exception):
    """A refusal with a remedy.

    Parameters
    ----------
    message : str
        What was found, the value and the bound.
    remedy : str
        What the person who reads it should do next.
    """

    kind = "bug"
    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(cls: type["HourglassError"], message: str, remedy: str) -> "HourglassError":
    return cls(message, remedy=remedy)


class ConfigError(HourglassError):
    """The command or the configuration is wrong: nothing was tried. Do not retry."""

    kind = "config"
    exit_code = 2


class ContractViolation(HourglassError):
    """Data, a model or a table breaks its contract: nothing was written. Do not retry."""

    kind = "contract_violation"
    exit_code = 3


class SourceUnavailable(HourglassError):
    """The world did not answer (exchange, database, tracking server): retry."""

    kind = "source_unavailable"
    exit_code = 4


def policy_error(error: BaseException) -> HourglassError | None:
    """Say which policy an error of a library falls under, or None if it is a bug.

    A full or unwritable disk, a database that went away and a tracking server that cannot be
    reached or fails (5xx) are the world's: the same command works once they are mended. What MLflow
    and Optuna wrap is looked for under their own errors; the rest of theirs are bugs.
    """
    if isinstance(error, HourglassError):
        return error
    links = list(_links(error)) if _is_of(error, "mlflow", "optuna", "requests") else [error]
    found = (_of_database(link) or _of_disk(link) or _of_server(link) for link in links)
    return next((refusal for refusal in found if refusal is not None), None)


def root_reason(error: BaseException) -> str:
    """Return the innermost system error in words ("Connection refused"), else the first line."""
    reasons = [link.strerror for link in _links(error) if isinstance(link, OSError)]
    words = [reason for reason in reasons if reason]
    return words[-1] if words else (str(error).strip() or type(error).__name__).splitlines()[0]


def _of_database(error: BaseException) -> HourglassError | None:
    from sqlalchemy.exc import InterfaceError, OperationalError

    if not isinstance(error, OperationalError | InterfaceError):
        return None
    return SourceUnavailable(
        f"the database did not answer: {str(error.orig).strip().splitlines()[0]}",
        remedy="see `hourglass doctor`, then run the same command again",
    )


def is_of_disk(error: BaseException) -> bool:
    """Say whether an error means that a disk is full or may not be written."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def _of_disk(error: BaseException) -> HourglassError | None:
    if not isinstance(error, OSError) or not is_of_disk(error):
        return None
    # Of a copy that failed, the second name is the one that was being written.
    where = error.filename2 or error.filename or "to the disk"
    return SourceUnavailable(
        f"cannot write {where}: {error.strerror}",
        remedy="free space or mend the folder's permissions, then run the same command again",
    )


def _of_server(error: BaseException) -> HourglassError | None:
    unreachable = _is_of(error, "requests") and type(error).__name__ in _UNREACHABLE
    failed = _is_of(error, "mlflow") and _SERVER_FAILED.search(str(error)) is not None
    if not unreachable and not failed:
        return None
    return SourceUnavailable(
        f"the MLflow server did not answer: {root_reason(error)}",
        remedy="start it (`hourglass up`) or mend mlflow.tracking_uri, then run the same command again",
    )


def _is_of(error: BaseException, *packages: str) -> bool:
    return type(error).__module__.partition(".")[0] in packages


def _links(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what it was raised from, or while handling what."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
)
_UNREACHABLE = frozenset(
    {"ConnectionError", "ConnectTimeout", "ReadTimeout", "RetryError", "ChunkedEncodingError"}
)
# As MLflow's client words an answer of 500 or above, and the server's own error codes for them.
_SERVER_FAILED = re.compile(
    r"failed with error code 5\d\d|^(INTERNAL_ERROR|TEMPORARILY_UNAVAILABLE):|^5\d\d Server Error"
)
