"""Table contracts as Great Expectations: validated before anything is published."""

from pipelines.quality.gate import (
    ALL,
    CONTRACT,
    CheckResult,
    add,
    contract_checks,
    quarantine,
    record,
    refuse,
    row_as_json,
    validate,
    violation,
)

__all__ = [
    "ALL",
    "CONTRACT",
    "CheckResult",
    "add",
    "contract_checks",
    "quarantine",
    "record",
    "refuse",
    "row_as_json",
    "validate",
    "violation",
]
