"""Check the newest feature rows before anything is scored on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from weakref import WeakKeyDictionary

import polars as pl

from features.registry import Feature
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.feature_inputs import chosen_features, read_inputs
from pipelines.lake import Lake
from pipelines.quality import (
    ALL,
    CheckResult,
    contract_checks,
    quarantine,
    record,
    validate,
    violation,
)
from pipelines.quality.column_profile import (
    latest_statistics,
    statistics,
    statistics_checks,
    table_profile,
)
from pipelines.quality.feature_health import constant_columns, undefined_shares
from pipelines.quality.refusals import without_refused
from pipelines.settings import Settings
from pipelines.steps.build_features import feature_identity
from pipelines.tables import FEATURES, KEY, Column, Table

TRAILING_BARS = 168
# Of the rows whose window is complete, how many may still be null: where the formula is undefined.
MAX_UNDEFINED = 0.5
CHECKS = ("feature_set", "one_row_a_bar", "null_share", "not_constant", "expectations")
# A float32 may lie this far outside a bound that holds in exact arithmetic.
_ROUNDING = 1e-5
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
# The venue and day of a lake that is known to have been looked at, and the instant it is known since.
_looked_at: WeakKeyDictionary[Lake, tuple[str, datetime, datetime]] = WeakKeyDictionary()
_REMEDY = "read the named column in features/, mend it or its bars, and run build_features again"


def check_features(context: Context, as_of: datetime) -> StepReport:
    """Check the feature rows of `as_of` against their contract, and the trailing week for health.

    Checked: the table carries the configured feature set; there is a row for every bar of the hour;
    every value is finite and inside its declared range; over the trailing week a column whose window
    is complete is not null in more than half of its rows, and no column stands still. At midnight,
    and the first time, Great Expectations looks at the day, and every column's statistics over its
    whole history are written down.

    Reads: `features`, `bars` of the universe and the sources: the trailing week, and the longest
    lookback before; at midnight the months of `features` that changed.
    Writes: `quality`, one row a check; if one fails, `quarantine`: the hour's rows with the reason,
    and nobody scores, trades on or learns from the hour (`quality.refusals`).
    Re-run: writes the same rows; a refused hour that now passes is back.

    Raises
    ------
    ContractViolation
        Naming what failed, where, the bound and the remedy.
    ConfigError
        If `as_of` is off the grid or in the future.
    """
    settings, lake = context.settings, context.lake
    check_as_of(as_of, settings.timeframe)
    features = chosen_features(settings)
    table = bounded_table(tuple(features))
    step = timeframe_delta(settings.timeframe)
    if not lake.exists(FEATURES.name):
        raise ContractViolation(
            f"table features does not exist yet; the hour of {format_instant(as_of)} was not checked",
            remedy=f"run `hourglass build-features --as-of {format_instant(as_of)}` first",
        )
    trailing = lake.read(FEATURES.name, start=as_of - TRAILING_BARS * step, end=as_of)
    hour = trailing.filter(pl.col("known_at") == as_of)
    longest = max(feature.lookback for feature in features)
    first = as_of - (TRAILING_BARS + longest) * step
    needs = [column for feature in features for column in feature.needs]
    bars = read_inputs(lake, settings, start=first, end=as_of, needs=needs)
    daily = _is_daily(lake, settings, as_of)
    results = [
        _check_feature_set(lake, settings, as_of),
        *validate(table, hour, venue=settings.venue, run_known_at=as_of, gate=False),
    ]
    if all(result.passed for result in results):
        results += _check_health(settings, features, trailing, bars, as_of)
    if daily and all(result.passed for result in results):
        results += _look_at_the_day(lake, settings, table, trailing, as_of)
    checks = [*contract_checks(table), *CHECKS, *statistics_checks(table)]
    written = record(
        lake, results, as_of=as_of, table=FEATURES.name, venue=settings.venue, checks=checks
    )
    if failed := [result for result in results if not result.passed]:
        quarantine(lake, table, hour, "; ".join(result.observed for result in failed))
        raise violation(FEATURES.name, failed, as_of, _REMEDY)
    return StepReport(
        "check_features", as_of, written, {"rows": hour.height, "checks": len(results)}
    )


@cache
def bounded_table(features: tuple[Feature, ...]) -> Table:
    """Return the contract of the features table with every column's unit and declared range."""
    columns = []
    for feature in features:
        low, high = feature.bounds
        columns.append(
            Column(
                feature.name,
                pl.Float32(),
                feature.unit,
                nullable=True,
                ge=None if low is None else low - _ROUNDING,
                le=None if high is None else high + _ROUNDING,
            )
        )
    return Table(FEATURES.name, FEATURES.doc, (*FEATURES.columns, *columns), open_columns=True)


def _check_feature_set(lake: Lake, settings: Settings, as_of: datetime) -> CheckResult:
    identity, standing = feature_identity(settings), lake.metadata(FEATURES.name)
    observed = standing.get("feature_set", "none")
    return _result(
        settings,
        as_of,
        "feature_set",
        passed=all(standing.get(key) == value for key, value in identity.items()),
        observed=f"features carry set {observed} over {standing.get('panel', 'no panel')}",
        bound=f"set {identity['feature_set']} over {identity['panel']}; run build_features",
    )


def _is_daily(lake: Lake, settings: Settings, as_of: datetime) -> bool:
    """Say whether the day's look is due: at midnight, or if there was none since the last one."""
    midnight = as_of.replace(hour=0, minute=0)
    if as_of == midnight:
        return True
    venue, day, since = _looked_at.get(lake, ("", midnight, as_of))
    # An hour before that instant may be the one at which the look was taken.
    if (venue, day) == (settings.venue, midnight) and since <= as_of:
        return False
    made = latest_statistics(
        lake, FEATURES.name, venue=settings.venue, start=midnight - _TICK, end=as_of - _TICK
    )
    if made:
        _looked_at[lake] = (settings.venue, midnight, as_of)
    return not made


def _look_at_the_day(
    lake: Lake, settings: Settings, table: Table, trailing: pl.DataFrame, as_of: datetime
) -> Iterator[CheckResult]:
    """Ask Great Expectations about the day's rows, and profile every column's whole history."""
    day = without_refused(lake, trailing.filter(pl.col("known_at") > as_of - _DAY))
    contract = validate(table, day, venue=settings.venue, run_known_at=as_of, full=True)
    summary = replace(
        contract[0], check="expectations", observed=f"of a day: {contract[0].observed}"
    )
    yield summary
    names = [column.name for column in table.columns if column.dtype.is_float()]
    found = table_profile(lake, table.name, names, venue=settings.venue, as_of=as_of)
    yield from statistics(table, found, venue=settings.venue, as_of=as_of)


def _check_health(
    settings: Settings,
    features: Sequence[Feature],
    trailing: pl.DataFrame,
    bars: pl.DataFrame,
    as_of: datetime,
) -> Iterator[CheckResult]:
    step = timeframe_delta(settings.timeframe)
    now = pl.col("known_at") == as_of
    lonely = bars.filter(now).join(trailing.filter(now), on=list(KEY), how="anti")
    extra = trailing.filter(now).join(bars.filter(now), on=list(KEY), how="anti")
    yield _result(
        settings,
        as_of,
        "one_row_a_bar",
        passed=lonely.is_empty() and extra.is_empty(),
        observed=f"{lonely.height} bars without a row, {extra.height} rows without a bar",
        bound="one row a bar; run build_features",
        failing_rows=lonely.height + extra.height,
    )
    shares = undefined_shares(features, trailing, bars, step)
    empty = {name: share for name, share in shares.items() if share > MAX_UNDEFINED}
    yield _result(
        settings,
        as_of,
        "null_share",
        passed=not empty,
        observed=_listed(empty, "{name} is null in {value:.0%} of its complete windows")
        or f"at most {max(shares.values(), default=0.0):.1%} of a column's complete windows",
        bound=f"{MAX_UNDEFINED:.0%} of the windows whose bars are all there",
        failing_rows=len(empty),
    )
    constant = constant_columns(features, trailing, values=TRAILING_BARS)
    yield _result(
        settings,
        as_of,
        "not_constant",
        passed=not constant,
        observed=_listed(constant, "{name} is {value:g} throughout") or "every column varies",
        bound=f"more than one value in {TRAILING_BARS} bars to {format_instant(as_of)}",
        failing_rows=len(constant),
    )


def _listed(found: Mapping[str, float], template: str) -> str:
    first = [template.format(name=name, value=value) for name, value in list(found.items())[:5]]
    more = [f"and {len(found) - 5} more"] if len(found) > 5 else []
    return "; ".join([*first, *more])


def _result(
    settings: Settings,
    as_of: datetime,
    check: str,
    *,
    passed: bool,
    observed: str,
    bound: str,
    failing_rows: int = 0,
) -> CheckResult:
    return CheckResult(
        table=FEATURES.name,
        check=check,
        venue=settings.venue,
        symbol=ALL,
        known_at=as_of,
        observed=observed,
        bound=bound,
        passed=passed,
        failing_rows=failing_rows,
    )
