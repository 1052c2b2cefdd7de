"""How long the scoring step of an hour takes where no model is loaded yet. Prints; asserts nothing.

Twenty random symbols with all features of bars, an XGBoost model with a book, an embedded PostgreSQL.
The process has its libraries and reads the model anew for every hour, once over connections that are open
already and once with those to be opened as well.
"""

import statistics
import tempfile
import time
from datetime import datetime

import polars as pl
from bench_features import HOUR, START, random_bars

from pipelines.context import Context
from pipelines.settings import load_settings
from pipelines.steps.build_features import build_features
from pipelines.steps.score_bars import score_bars
from pipelines.steps.train import train
from pipelines.tables import BARS

SYMBOLS, DAYS, HOURS = 20, 120, 12
SMALL = {
    "sources.enabled": [],
    "training.split.windows": 1,
    "training.split.test_days": 10,
    "training.split.train_days": 60,
    "training.search.trials": 1,
    "training.importance.columns": 0,
    "training.evidence.paths": 100,
}


def bars() -> pl.DataFrame:
    """Return random bars in the lake's contract."""
    known_at = pl.col("known_at").cast(BARS.schema["known_at"])
    whole = random_bars(SYMBOLS, DAYS * 24).with_columns(
        known_at=known_at,
        open_time=known_at - HOUR,
        quote_volume=pl.col("volume") * pl.col("close"),
        ingested_at=known_at,
    )
    return whole.select(list(BARS.schema)).cast(dict(BARS.schema))


def scored(settings: dict[str, object], as_of: datetime, *, connected: bool) -> tuple[float, float]:
    """Return wall and processor milliseconds of the step in a context of its own."""
    with Context(load_settings(settings, environ={})) as context:
        if connected:
            context.ledger.books()
            context.registry.versions()
        wall, processor = time.perf_counter(), time.process_time()
        rows = score_bars(context, as_of).detail["rows"]
        assert rows == SYMBOLS, rows
        return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3


def main() -> None:
    """Train once, then score hour after hour."""
    table, end = bars(), START + DAYS * 24 * HOUR
    universe = table["symbol"].unique().sort().to_list()
    with tempfile.TemporaryDirectory(prefix="hourglass-bench-") as home:
        settings = {**SMALL, "home": home, "universe": universe}
        with Context(load_settings(settings, environ={})) as context:
            context.lake.replace(BARS, table, start=START, end=end)
            features = build_features(context, end).detail["features"]
            train(context, end - HOURS * HOUR)
            score_bars(context, end - HOURS * HOUR + HOUR)
            hours = [end - hour * HOUR for hour in reversed(range(HOURS - 1))]
            ways: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
            for turn, at in enumerate(hours):
                connected = turn % 2 == 0
                ways[connected].append(scored(settings, at, connected=connected))
    print(
        f"{SYMBOLS} symbols x {features} features, the scoring step of an hour, model load included"
    )
    for connected, taken in ways.items():
        wall, processor = (statistics.median(column) for column in zip(*taken, strict=True))
        with_what = "connections open" if connected else "connections opened too"
        print(
            f"  {with_what:24} {wall:4.0f} ms ({processor:.0f} ms of processor), {len(taken)} hours"
        )


if __name__ == "__main__":
    main()
