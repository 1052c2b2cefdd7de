"""One step a file = one Airflow task = one `hourglass` verb."""

HOURLY_CHAIN = (
    "ingest_bars",
    "check_bars",
    "ingest_sources",
    "build_features",
    "check_features",
    # Before the next two: they load what is live, and a version that was deleted cannot be.
    "watch_champion",
    "pulse_drift",
    "score_bars",
    "trade_paper",
)
DAILY_CHAIN = ("close_outcomes", "compare_models", "check_drift", "promote_model")
"""What judges the models once a day, after the hour of midnight and a training that is due."""
