"""One step a file = one Airflow task = one `hourglass` verb."""

HOURLY_CHAIN = (
    "ingest_bars",
    "check_bars",
    "ingest_sources",
    "build_features",
    "check_features",
    "score_bars",
    "trade_paper",
)
