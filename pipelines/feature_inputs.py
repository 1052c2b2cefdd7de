"""What features are computed from: the bars of the universe, and on them what sources had said by then.

Every step that computes or judges features reads here, so none can join another way.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from features.as_of_join import SOURCE_COLUMNS, Readings, per_eight_hours, with_readings
from features.registry import Feature, registered, select
from pipelines.errors import ConfigError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.symbols import perpetual_of
from pipelines.tables import (
    BARS,
    FEATURES,
    FUNDING,
    INDEX_PUBLISHERS,
    INDICES,
    OPEN_INTEREST,
    PREMIUMS,
    Table,
)
from serving.books import FEATURES_READ

# Column on the bars to the source that fills it, the table it is in, and there the value's column.
_OF_PERPETUALS: dict[str, tuple[str, Table, str]] = {
    "funding_rate": ("funding", FUNDING, "funding_rate"),
    "open_interest": ("open_interest", OPEN_INTEREST, "open_interest"),
    "premium": ("premium", PREMIUMS, "premium"),
}
# Column on the bars to the source, and its series in `indices`.
_OF_INDICES: dict[str, tuple[str, str]] = {
    "fear_greed": ("fear_greed", "FEAR_GREED"),
    "vix": ("macro", "VIX"),
    "dxy": ("macro", "DXY"),
}
# The longest interval of funding: a rate's unit depends on the payment before it.
_INTERVAL = timedelta(hours=8)


def source_of(column: str) -> str:
    """Return the name, in `sources.enabled`, of the source that fills a column of `SOURCE_COLUMNS`."""
    named = _OF_PERPETUALS if column in _OF_PERPETUALS else _OF_INDICES
    return named[column][0]


def chosen_features(settings: Settings) -> list[Feature]:
    """Return the configured feature set, in order: of the families asked for, what sources can feed.

    A feature that needs a source which is not enabled is not in the set, so no column is null for good
    and the set's hash says what is read.

    Raises
    ------
    ConfigError
        If a configured family does not exist, or is asked for by name while its source is off.
    """
    families = settings.features.families
    try:
        asked = registered(families)
    except ValueError as error:
        raise ConfigError(str(error), remedy="mend features.families") from error
    chosen = [one for one in asked if _missing(settings, one) is None]
    for family in set(families) - {one.family for one in chosen}:
        missing = next(_missing(settings, one) for one in asked if one.family == family)
        raise ConfigError(
            f"no feature of family {family!r} can be computed: source {missing!r} is not enabled",
            remedy=f"add {missing} to sources.enabled, or take {family} out of features.families",
        )
    return chosen


def require_what_books_read(features: pl.DataFrame) -> None:
    """Raise ConfigError if `features` lack a column that every book reads, whatever model it trades."""
    missing = [name for name in FEATURES_READ if name not in features.columns]
    if missing:
        families = sorted({one.family for one in select(missing)})
        raise ConfigError(
            f"features have no {', '.join(missing)}; every book reads them",
            remedy=f"add {', '.join(families)} to features.families, then run `hourglass build-features`",
        )


def _missing(settings: Settings, one: Feature) -> str | None:
    needed = [source_of(column) for column in one.needs if column in SOURCE_COLUMNS]
    return next((source for source in needed if source not in settings.sources.enabled), None)


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


def read_inputs(
    lake: Lake, settings: Settings, *, start: datetime, end: datetime, needs: Sequence[str]
) -> pl.DataFrame:
    """Return those bars, with a column for every one of `needs` that is a source's."""
    bars = read_bars(lake, settings, start=start, end=end)
    return with_readings(bars, read_sources(lake, settings, start=start, end=end, needs=needs))


def read_sources(
    lake: Lake, settings: Settings, *, start: datetime, end: datetime, needs: Sequence[str]
) -> list[Readings]:
    """Return what sources had published by `end`, from before `start` as far back as it may count."""
    wanted = [column for column in SOURCE_COLUMNS if column in set(needs)]
    return [_readings(lake, settings, column, start, end) for column in wanted]


def stale_after(settings: Settings, column: str) -> timedelta:
    """Return the age up to which a reading of `column` counts."""
    hours: float = getattr(settings.sources, f"{source_of(column)}_stale_hours")
    return timedelta(hours=hours)


def _readings(
    lake: Lake, settings: Settings, column: str, start: datetime, end: datetime
) -> Readings:
    limit = stale_after(settings, column)
    if column in _OF_INDICES:
        series = _OF_INDICES[column][1]
        rows = lake.read(INDICES.name, start=start - limit, end=end, symbols=[series])
        rows = rows.filter(pl.col("venue") == INDEX_PUBLISHERS[series])
        rows = rows.select("known_at", "value")
        return Readings(column, rows, limit)
    _, table, name = _OF_PERPETUALS[column]
    contracts = pl.DataFrame(
        {"traded": settings.universe, "symbol": [perpetual_of(s) for s in settings.universe]}
    )
    since = start - limit - _INTERVAL
    rows = lake.read(table.name, start=since, end=end, symbols=contracts["symbol"].to_list())
    rows = rows.filter(pl.col("venue") == settings.sources.derivatives_venue)
    told = per_eight_hours(rows) if column == "funding_rate" else rows.rename({name: "value"})
    traded = told.join(contracts, on="symbol", how="inner")
    return Readings(column, traded.select("known_at", "value", symbol="traded"), limit)


def input_hashes(settings: Settings, hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the identity of each column beside its definition: how long a reading counts, and whose."""
    features = {one.name: one for one in select(list(hashes))}
    return {
        name: held + _read_with(settings, features[name].needs) for name, held in hashes.items()
    }


def _read_with(settings: Settings, needs: Sequence[str]) -> str:
    columns = [column for column in needs if column in SOURCE_COLUMNS]
    venue = settings.sources.derivatives_venue
    whose = [f"{venue}:" if column in _OF_PERPETUALS else "" for column in columns]
    hours = [stale_after(settings, column) / timedelta(hours=1) for column in columns]
    return "".join(f"+{who}{hour:g}h" for who, hour in zip(whose, hours, strict=True))


def publish(
    lake: Lake,
    settings: Settings,
    table: Table,
    standing: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    where: Mapping[str, Sequence[str]],
) -> bool:
    """Make a window of a table that feeds features equal `rows`, and have older columns built anew.

    The next build computes rows of the restatement and repair hours again and no older ones. Where a
    reading arrives so late that older rows of `features` change, the columns it feeds lose their name
    there, so that build takes them for changed. They lose it before the rows are written, for whoever
    is killed in between, and after, for a build that ran meanwhile.

    Parameters
    ----------
    standing, rows : polars.DataFrame
        What the window holds and shall hold, in the contract of `table`.
    start, end, where
        As in `Lake.replace`.

    Returns
    -------
    bool
        Whether anything was written.
    """
    facts = [name for name in table.schema if name not in table.audit_columns]
    changed = rows.join(standing, on=facts, how="anti", nulls_equal=True)["known_at"]
    wrong = _columns_gone_wrong(lake, settings, table, changed)
    _forget(lake, wrong)
    written = lake.replace(table, rows, start=start, end=end, where=where)
    _forget(lake, wrong)
    return written


def _columns_gone_wrong(
    lake: Lake, settings: Settings, table: Table, changed: pl.Series
) -> set[str]:
    """Return the columns of `features` with rows that readings of these instants change for good."""
    fed = {column for column, (_, held, _) in _OF_PERPETUALS.items() if held.name == table.name}
    fed |= set(_OF_INDICES) if table.name == INDICES.name else set()
    newest = _newest_row(lake) if fed and len(changed) else None
    hours = max(settings.ingest.restatement_hours, settings.ingest.repair_hours)
    if newest is None or changed.min() > newest - timedelta(hours=hours):  # type: ignore[operator]
        return set()
    return {one.name for one in registered() if fed & set(one.needs)}


def _forget(lake: Lake, columns: set[str]) -> None:
    if not columns:
        return
    made = json.loads(lake.metadata(FEATURES.name).get("columns", "{}"))
    kept = {name: held for name, held in made.items() if name not in columns}
    if kept != made:
        lake.set_metadata(FEATURES.name, {"columns": json.dumps(kept, separators=(",", ":"))})


def _newest_row(lake: Lake) -> datetime | None:
    months = lake.months(FEATURES.name)
    if not months:
        return None
    begin = datetime.fromisoformat(f"{max(months)}-01T00:00+00:00") - timedelta(microseconds=1)
    end = begin + timedelta(days=32)
    rows = lake.read(FEATURES.name, start=begin, end=end, columns=["known_at"])
    return rows["known_at"].max()  # type: ignore[return-value]
