"""The two classes that carry policy, and the exit codes they become.

Everything that is not one of these is a bug and surfaces as itself.
"""

import errno


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

    A full or unwritable disk and a database that went away are the world's: the same command works
    once they are mended.
    """
    from sqlalchemy.exc import InterfaceError, OperationalError

    if isinstance(error, HourglassError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return SourceUnavailable(
            f"the database did not answer: {str(error.orig).strip().splitlines()[0]}",
            remedy="see `hourglass doctor`, then run the same command again",
        )
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return SourceUnavailable(
            f"cannot write {error.filename or 'to the disk'}: {error.strerror}",
            remedy="free space or mend the folder's permissions, then run the same command again",
        )
    return None


_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
