"""When a run is late: then a failed check is written down beside all others."""

from datetime import timedelta

from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback

_RECORD = "pipelines.airflow.deadlines.record_late_run"
_AT_ONCE = timedelta(0)


def late_after(minutes, before=_AT_ONCE):
    """Return the deadline of a run, so long after its logical date and what may pass `before` it counts."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=before + timedelta(minutes=minutes),
        callback=SyncCallback(_RECORD, {"minutes": minutes}),
    )
