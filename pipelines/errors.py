"""The two classes that carry policy, and the exit codes they become.

Everything that is not one of these is a bug and surfaces as itself.
"""


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
