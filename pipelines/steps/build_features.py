"""Compute the feature columns of the traded universe from the bars in the lake.

The law: the rows of `features` up to `as_of` are what `build_matrix` gives from all bars of the
universe up to `as_of`. To keep it at the price of an hour, only rows that may differ are computed:

- A bar that came or went shows as a key that only one of the tables has (an hour not built yet, an
  outage, older history that was backfilled, a gap that was repaired). Rows from the first of them
  on are computed.
- A bar that was restated has the same key. Ingestion accepts that, and repairs, only within
  `restatement_hours` and `repair_hours` of the hour it runs at, so rows that far before the first
  hour not built yet are computed again. A bar changes the features of its own and later hours only,
  never of earlier ones, so nothing before that window can differ.
- Another set of features, universe or venue changes every row: all up to `as_of` are computed, and
  later ones, of the old set, are taken away; the next hour finds them missing.

Rows that turn out equal are not written.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

import polars as pl

from features.matrix import build_matrix
from features.registry import feature_set_hash, registered, required_lookback
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation
from pipelines.lake import Lake, MonthFiles
from pipelines.settings import Settings
from pipelines.tables import BARS, FEATURES, KEY, features_table

_INSTANT = timedelta(microseconds=1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Months of bars and features whose keys were compared and agree, though other markets' bars beside
# the traded ones make their counts differ. The same files need not be compared again.
_agreed: WeakKeyDictionary[Lake, dict[str, tuple[MonthFiles | None, MonthFiles | None]]] = (
    WeakKeyDictionary()
)


def build_features(context: Context, as_of: datetime) -> StepReport:
    """Bring `features` up to `as_of`.

    Reads: `bars` of the universe up to `as_of`: the rows that may differ and the longest lookback
    before them; all of them on the first run and when the feature set or the universe changed.
    Writes: `features`, the rows of the window that differ, and the feature set's hash in the table's
    metadata.
    Re-run: finds every row equal and writes nothing.

    Raises
    ------
    ContractViolation
        If there is no bar of the universe up to `as_of`.
    ConfigError
        If `as_of` is off the grid or in the future, or a configured family does not exist.
    """
    settings, lake = context.settings, context.lake
    check_as_of(as_of, settings.timeframe)
    names = feature_names(settings)
    identity = feature_identity(settings)
    standing = lake.metadata(FEATURES.name)
    changed_keys = sorted(key for key in identity if standing.get(key) != identity[key])
    step = timeframe_delta(settings.timeframe)
    if changed_keys:
        start, end = _BEGINNING, _end_of_table(lake, as_of)
    else:
        start, end = _window_start(lake, settings, as_of), as_of
    lookback = required_lookback(names) * step
    bars = read_bars(lake, settings, start=max(start - lookback, _BEGINNING), end=as_of)
    if bars.is_empty() and changed_keys:
        raise ContractViolation(
            f"bars: no bar of {', '.join(settings.universe)} on {settings.venue} up to "
            f"{format_instant(as_of)}; no feature was written",
            remedy="run `hourglass backfill`, or check venue and universe",
        )
    matrix = build_matrix(bars, timeframe=step, names=names).filter(pl.col("known_at") > start)
    written = lake.replace(features_table(names), matrix, start=start, end=end)
    if changed_keys:
        written = lake.set_metadata(FEATURES.name, identity) or written
    detail = {
        "rows": matrix.height,
        "features": len(names),
        "feature_set": identity["feature_set"],
        "start": format_instant(start),
        "rebuilt_because": _reason(changed_keys, standing),
    }
    return StepReport("build_features", as_of, written, detail)


def feature_names(settings: Settings) -> list[str]:
    """Return the columns of the configured feature set, in order.

    Raises
    ------
    ConfigError
        If a configured family does not exist.
    """
    try:
        return [feature.name for feature in registered(settings.features.families)]
    except ValueError as error:
        raise ConfigError(str(error), remedy="mend features.families") from error


def feature_identity(settings: Settings) -> dict[str, str]:
    """Return what every row of `features` depends on beside its bars, as table metadata.

    `feature_set` is the hash of the definitions, which models and scorers are checked against. The
    panel matters because cross-asset columns are computed over exactly its symbols.
    """
    panel = [settings.venue, settings.timeframe, *sorted(settings.universe)]
    return {
        "feature_set": feature_set_hash(feature_names(settings)),
        "panel": json.dumps(panel),
    }


def _window_start(lake: Lake, settings: Settings, as_of: datetime) -> datetime:
    """Return the instant after which rows may differ from what the bars now give."""
    first = min(_first_difference(lake, settings, as_of) or as_of, as_of)
    hours = max(settings.ingest.restatement_hours, settings.ingest.repair_hours)
    return first - timeframe_delta(settings.timeframe) - timedelta(hours=hours)


def _first_difference(lake: Lake, settings: Settings, as_of: datetime) -> datetime | None:
    """Return the first instant up to `as_of` at which only one of bars and features has a row."""
    bars, features = lake.months(BARS.name), lake.months(FEATURES.name)
    agreed = _agreed.setdefault(lake, {})
    made = {
        month: (bars.get(month), features.get(month))
        for month in sorted(bars.keys() | features.keys())
        if _begin(month) <= as_of
    }
    suspects = [
        month
        for month, (of_bars, of_features) in made.items()
        if agreed.get(month) != made[month] and _rows(of_bars) != _rows(of_features)
    ]
    if not suspects:
        return None
    begin, end = _begin(suspects[0]) - _INSTANT, min(as_of, _end(suspects[-1]) - _INSTANT)
    held = lake.read(FEATURES.name, start=begin, end=end, columns=KEY)
    wanted = read_bars(lake, settings, start=begin, end=end, columns=KEY)
    lonely = pl.concat(
        [held.join(wanted, on=KEY, how="anti"), wanted.join(held, on=KEY, how="anti")]
    )
    if not lonely.is_empty():
        return lonely["known_at"].min()  # type: ignore[return-value]
    agreed.update({month: made[month] for month in suspects if _end(month) <= as_of})
    return None


def read_bars(
    lake: Lake,
    settings: Settings,
    *,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the bars of the traded universe with `start < known_at <= end`, sorted by key."""
    bars = lake.read(BARS.name, start=start, end=end, symbols=settings.universe, columns=columns)
    return bars.filter(pl.col("venue") == settings.venue)


def _end_of_table(lake: Lake, as_of: datetime) -> datetime:
    """Return an instant no earlier than `as_of` and the newest row of `features`."""
    months = lake.months(FEATURES.name)
    return max(as_of, _end(max(months))) if months else as_of


def _begin(month: str) -> datetime:
    return datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)


def _end(month: str) -> datetime:
    return (_begin(month) + timedelta(days=32)).replace(day=1)


def _rows(made: MonthFiles | None) -> int:
    return 0 if made is None else made.rows


def _reason(changed_keys: list[str], standing: dict[str, str]) -> str | None:
    if not changed_keys:
        return None
    return f"{' and '.join(changed_keys)} changed" if standing else "there were no features"
