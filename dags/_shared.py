"""What every DAG shares: owner, tags, schedules, Params, and retries by error class."""

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.settings import load_settings

SETTINGS = load_settings()
TAGS = frozenset({"ingestion", "trading", "training", "monitoring", "hourly", "daily", "manual"})
CRON = {"1m": "* * * * *", "5m": "*/5 * * * *", "15m": "*/15 * * * *", "1h": "0 * * * *"}
CRON |= {"4h": "0 */4 * * *", "1d": "0 0 * * *"}

# The error says whether trying again can help. What is neither is a bug or a lost worker: two more tries.
DEFAULT_ARGS = {
    "owner": "hourglass",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(SourceUnavailable, RetryAction.RETRY, reason="the world did not answer"),
            RetryRule(
                [ContractViolation, ConfigError], RetryAction.FAIL, reason="not to be retried"
            ),
        ]
    ),
}

AS_OF = Param(
    None,
    type=["null", "string"],
    format="date-time",
    title="As of (UTC)",
    description="Work as if it were this instant, on the grid of bars. Empty: the run's own.",
)


def scheduled(timetable):
    """Return `timetable`, or None where the settings say that DAGs run only when triggered."""
    return timetable if SETTINGS.stack.scheduled else None
