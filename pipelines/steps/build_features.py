"""Compute the feature columns of the traded universe from the bars and sources in the lake.

The law: the rows of `features` up to `as_of` are what `build_matrix` gives from all bars of the
universe up to `as_of`, with what sources had published joined to them (`feature_inputs`). To keep it at
the price of an hour, only rows that may differ are computed:

- A bar that came or went shows as a key that only one of the tables has (an hour not built yet, an
  outage, older history that was backfilled, a gap that was repaired). Rows from the first of them
  on are computed.
- A bar that was restated has the same key. Ingestion accepts that, and repairs, only within
  `restatement_hours` and `repair_hours` of the hour it runs at, so rows that far before the first
  hour not built yet are computed again. A bar changes the features of its own and later hours only,
  never of earlier ones, so nothing before that window can differ.
- A reading of a source that came late or was restated does the same, within the same hours. One that
  is older takes the names of the columns it feeds off the table when it is written
  (`feature_inputs.publish`), and they are computed anew as if their definition had changed.
- Another definition of a feature changes its column in every row, and no other column. The table
  names the hash of each column's definition, so only changed and new columns are computed over the
  whole history; the others stay as they are, bit for bit, and columns no longer wanted go.
- Another universe, venue or timeframe changes every row: all up to `as_of` are computed.

Where columns or all rows changed, rows later than `as_of`, of the old set, are taken away; the next
hour finds them missing. Rows that turn out equal are not written.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

import polars as pl

from features.matrix import build_matrix
from features.registry import (
    FeatureFailed,
    feature_hashes,
    feature_set_hash,
    required_lookback,
    select,
)
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.feature_inputs import chosen_features, input_hashes, read_bars, read_inputs
from pipelines.lake import Lake, MonthFiles
from pipelines.settings import Settings
from pipelines.tables import BARS, FEATURES, KEY, features_table

_INSTANT = timedelta(microseconds=1)
# Months of a rebuild that are in memory at once: each is one commit.
SPAN_MONTHS = 6
_UNFINISHED = "none: a rebuild is not finished"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Months of bars and features whose keys were compared and agree, though other markets' bars beside
# the traded ones make their counts differ. The same files need not be compared again.
_agreed: WeakKeyDictionary[Lake, dict[str, tuple[MonthFiles | None, MonthFiles | None]]] = (
    WeakKeyDictionary()
)


def build_features(context: Context, as_of: datetime) -> StepReport:
    """Bring `features` up to `as_of`.

    Reads: `bars` of the universe, `funding`, `open_interest`, `premiums` and `indices` up to `as_of`:
    the rows that may differ and the longest lookback before them; all of them on the first run and
    when a definition or the universe changed.
    Writes: `features`, the rows of the window that differ, and the hashes of the set and of each
    column in the table's metadata.
    Re-run: finds every row equal and writes nothing.

    Raises
    ------
    ContractViolation
        If there is no bar of the universe up to `as_of`, or a feature raises, returns anything but a
        float64 a bar, or cannot be identified.
    ConfigError
        If `as_of` is off the grid or in the future, or a configured family does not exist.
    """
    settings, lake = context.settings, context.lake
    check_as_of(as_of, settings.timeframe)
    change = _change(lake, settings)
    if change.is_none:
        start, end = _window_start(lake, settings, as_of), as_of
        matrix = _matrix(lake, settings, change.names, start, as_of)
        written = lake.replace(features_table(change.names), matrix, start=start, end=end)
        rows = matrix.height
    else:
        start = _BEGINNING
        rows, written = _rebuild(lake, settings, change, as_of)
        written = lake.set_metadata(FEATURES.name, change.identity) or written
    detail = {
        "rows": rows,
        "features": len(change.names),
        "feature_set": change.identity["feature_set"],
        "start": format_instant(start),
        "rebuilt_because": change.reason,
        "columns_rebuilt": len(change.names if change.whole else change.columns),
    }
    return StepReport("build_features", as_of, written, detail)


@dataclass(frozen=True)
class _Change:
    """How what stands in `features` differs from what is asked for, but for rows."""

    names: list[str]
    identity: dict[str, str]
    columns: list[str]
    reason: str | None
    whole: bool

    @property
    def is_none(self) -> bool:
        return self.reason is None


def _change(lake: Lake, settings: Settings) -> _Change:
    names, identity = feature_names(settings), feature_identity(settings)
    standing = lake.metadata(FEATURES.name)
    made = json.loads(standing.get("columns", "{}"))
    columns = [name for name, held in _hashes(settings, names).items() if made.get(name) != held]
    changed = sorted(key for key in identity if standing.get(key) != identity[key])
    reason = None
    if changed:
        told = [key for key in changed if key != "columns"] or changed
        reason = f"{' and '.join(told)} changed" if standing else "there were no features"
    return _Change(names, identity, columns, reason, whole=not made or "panel" in changed)


def _matrix(
    lake: Lake, settings: Settings, names: Sequence[str], start: datetime, as_of: datetime
) -> pl.DataFrame:
    """Return the rows with `start < known_at <= as_of` of features `names`."""
    step = timeframe_delta(settings.timeframe)
    first = max(start - required_lookback(names) * step, _BEGINNING)
    needs = [column for one in select(names) for column in one.needs]
    bars = read_inputs(lake, settings, start=first, end=as_of, needs=needs)
    with _refused_by_name():
        return build_matrix(bars, timeframe=step, names=names, since=start)


@contextmanager
def _refused_by_name() -> Iterator[None]:
    """Make a feature that fails a refusal that says which, and how to look at it alone."""
    try:
        yield
    except FeatureFailed as error:
        raise ContractViolation(
            f"{error}; the features of this run were not written",
            remedy=f"mend it, with `hourglass prove leakage --features {error.feature}`, or take it "
            "out of features/",
        ) from error


def _rebuild(lake: Lake, settings: Settings, change: _Change, as_of: datetime) -> tuple[int, bool]:
    """Write the table anew, span after span; return its rows and whether any differed."""
    since = _BEGINNING if change.whole else _window_start(lake, settings, as_of)
    rows, written = 0, False
    for start, end in _spans(lake, settings, change, as_of):
        matrix = _rebuilt(lake, settings, change, start=start, end=min(end, as_of), since=since)
        _unname(lake, change)
        written |= lake.replace(features_table(change.names), matrix, start=start, end=end)
        rows += matrix.height
    return rows, written


def _spans(
    lake: Lake, settings: Settings, change: _Change, as_of: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Iterate over (start, end) that cover the table and all bars, so many months at a time.

    Memory is bounded by a span. Only where columns go is the table one span: its schema can be
    narrowed in no other way.
    """
    end = _end_of_table(lake, as_of)
    if (
        change.whole
        and read_bars(lake, settings, start=_BEGINNING, end=as_of, columns=KEY).is_empty()
    ):
        raise _no_bars(settings, as_of)
    months = sorted({*lake.months(BARS.name), *lake.months(FEATURES.name)})
    narrowed = lake.exists(FEATURES.name) and not set(lake.columns(FEATURES.name)) <= {
        *FEATURES.schema,
        *change.names,
    }
    size = len(months) if narrowed else SPAN_MONTHS
    turns = [_begin(month) - _INSTANT for month in months[size::size]]
    turns = [turn for turn in turns if turn < end]
    yield from zip([_BEGINNING, *turns], [*turns, end], strict=True)


def _rebuilt(
    lake: Lake,
    settings: Settings,
    change: _Change,
    *,
    start: datetime,
    end: datetime,
    since: datetime,
) -> pl.DataFrame:
    """Return the rows with `start < known_at <= end`.

    Up to `since` columns whose definition stands are those of the table and the rest is new; later
    rows, which may differ because their bars do, are computed in all columns, as in any other hour.
    """
    recent = _matrix(lake, settings, change.names, max(start, since), max(end, since))
    if start >= since:
        return recent
    turn = min(end, since)
    columns = _matrix(lake, settings, change.columns, start, turn)
    kept = [name for name in change.names if name not in set(change.columns)]
    standing = lake.read(FEATURES.name, start=start, end=turn, columns=[*KEY, *kept])
    older = columns.sort(KEY).hstack(standing.sort(KEY).select(kept))
    return pl.concat([older.select(recent.columns), recent])


def _unname(lake: Lake, change: _Change) -> None:
    """Take the names of what is about to be rewritten off the table.

    A build that is killed half-way would else leave columns of one definition under the name of another,
    and going back to the old definition would find them in order.
    """
    if not lake.exists(FEATURES.name):
        return
    made = json.loads(lake.metadata(FEATURES.name).get("columns", "{}"))
    kept = {} if change.whole else {n: h for n, h in made.items() if n not in set(change.columns)}
    kept = {name: held for name, held in kept.items() if name in set(change.names)}
    lake.set_metadata(FEATURES.name, {"feature_set": _UNFINISHED, "columns": json.dumps(kept)})


def _no_bars(settings: Settings, as_of: datetime) -> ContractViolation:
    return ContractViolation(
        f"bars: no bar of {', '.join(settings.universe)} on {settings.venue} up to "
        f"{format_instant(as_of)}; no feature was written",
        remedy="run `hourglass backfill`, or check venue and universe",
    )


def feature_names(settings: Settings) -> list[str]:
    """Return the columns of the configured feature set, in order; errors as `chosen_features`."""
    return [feature.name for feature in chosen_features(settings)]


def feature_identity(settings: Settings) -> dict[str, str]:
    """Return what every row of `features` depends on beside its bars, as table metadata.

    `feature_set` is the hash of the definitions, which models and scorers are checked against;
    `columns` the hash of each, and how long what it reads of a source counts. The panel matters because
    cross-asset columns are computed over exactly its symbols.
    """
    names = feature_names(settings)
    panel = [settings.venue, settings.timeframe, *sorted(settings.universe)]
    with _refused_by_name():
        return {
            "feature_set": feature_set_hash(names),
            "panel": json.dumps(panel),
            "columns": json.dumps(_hashes(settings, names), separators=(",", ":")),
        }


def _hashes(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    return input_hashes(settings, feature_hashes(names))


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
