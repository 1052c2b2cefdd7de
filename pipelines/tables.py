"""The data contracts of the lake: name, key, columns, dtypes, units, ranges, nullability.

A contract is data. `lake/` enforces dtypes, keys and nullability on every write, `quality/`
turns the ranges and row rules into Great Expectations suites, the documentation prints them.
Every market table has the key `(venue, symbol, known_at)`; `known_at` is the UTC instant at which
a trader could first have known the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import polars as pl

from evaluation.comparison.config import HORIZONS

INSTANT = pl.Datetime("us", "UTC")
KEY = ("venue", "symbol", "known_at")


@dataclass(frozen=True)
class Column:
    """One column: its type, unit and the range outside which a value is a contract violation.

    Parameters
    ----------
    name : str
    dtype : polars.DataType
    unit : str
        In square-bracket convention without the brackets, e.g. ``quote``, ``base``, ``fraction``.
    nullable : bool
        Null means "the venue did not say", never zero. NaN and infinity are always refused.
    ge, gt, le : float or None
        Inclusive lower, exclusive lower and inclusive upper bound.
    """

    name: str
    dtype: pl.DataType
    unit: str = ""
    nullable: bool = False
    ge: float | None = None
    gt: float | None = None
    le: float | None = None


@dataclass(frozen=True)
class RowRule:
    """A relation that holds inside every row, as a Polars expression that is true where it holds."""

    name: str
    holds: pl.Expr
    message: str


@dataclass(frozen=True)
class Table:
    """The contract of one lake table.

    `audit_columns` are stamps of when a row was written: they are ignored when a re-run is
    compared with what stands. `partitioned` tables are split by calendar month of `known_at`.
    `open_columns` tables carry further float32 columns named by another contract (features).
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = KEY
    rules: tuple[RowRule, ...] = ()
    audit_columns: tuple[str, ...] = ()
    partitioned: bool = True
    open_columns: bool = False

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """Map the column names to their Polars dtypes, in order."""
        return {column.name: column.dtype for column in self.columns}

    def empty(self) -> pl.DataFrame:
        """Return a frame of this contract without rows."""
        return pl.DataFrame(schema=self.schema)

    def column(self, name: str) -> Column:
        """Return the column called `name`; KeyError if the contract has none."""
        return next(c for c in self.columns if c.name == name) if name in self.schema else _no(name)


def _no(name: str) -> Column:
    raise KeyError(name)


_MARKET_KEY = (
    Column("venue", pl.String()),
    Column("symbol", pl.String()),
    Column("known_at", INSTANT, "UTC"),
)


def bars_table(name: str = "bars") -> Table:
    """Return the contract of a bars table: `bars` for the traded timeframe, `bars_1m` ... beside it."""
    return Table(
        name=name,
        doc="Closed OHLCV bars as the venue published them. Missing bars stay missing.",
        columns=(
            *_MARKET_KEY,
            Column("open_time", INSTANT, "UTC"),
            Column("open", pl.Float64(), "quote", gt=0),
            Column("high", pl.Float64(), "quote", gt=0),
            Column("low", pl.Float64(), "quote", gt=0),
            Column("close", pl.Float64(), "quote", gt=0),
            Column("volume", pl.Float64(), "base", ge=0),
            Column("quote_volume", pl.Float64(), "quote", nullable=True, ge=0),
            Column("trades", pl.Int64(), "count", nullable=True, ge=0),
            Column("taker_buy_volume", pl.Float64(), "base", nullable=True, ge=0),
            Column("ingested_at", INSTANT, "UTC"),
        ),
        rules=(
            RowRule(
                "high_is_highest",
                (pl.col("high") >= pl.max_horizontal("open", "close", "low")),
                "high below open, close or low",
            ),
            RowRule(
                "low_is_lowest",
                (pl.col("low") <= pl.min_horizontal("open", "close", "high")),
                "low above open, close or high",
            ),
            RowRule(
                "known_after_open",
                pl.col("known_at") > pl.col("open_time"),
                "known_at <= open_time",
            ),
            RowRule(
                "taker_within_volume",
                pl.col("taker_buy_volume").is_null()
                | (pl.col("taker_buy_volume") <= pl.col("volume") * (1 + 1e-9) + 1e-9),
                "taker_buy_volume above volume",
            ),
        ),
        audit_columns=("ingested_at",),
    )


BARS = bars_table()

# Venues cap an interval's rate at 2 to 4 %; the widest of the shipped history is 2 % (SOL, 2022-11).
_LARGEST_RATE = 0.05

FUNDING = Table(
    name="funding",
    doc="What longs of a perpetual paid shorts at an instant, once paid; to the second.",
    columns=(
        *_MARKET_KEY,
        Column(
            "funding_rate",
            pl.Float64(),
            "fraction of the position's value, paid by longs",
            ge=-_LARGEST_RATE,
            le=_LARGEST_RATE,
        ),
        Column("mark_price", pl.Float64(), "quote", nullable=True, gt=0),
        Column("ingested_at", INSTANT, "UTC"),
    ),
    audit_columns=("ingested_at",),
)

OPEN_INTEREST = Table(
    name="open_interest",
    doc="How much of a perpetual is held at an instant, known a written lag after it.",
    columns=(
        *_MARKET_KEY,
        Column("observed_at", INSTANT, "UTC"),
        Column("open_interest", pl.Float64(), "base", ge=0),
        Column("ingested_at", INSTANT, "UTC"),
    ),
    rules=(
        RowRule(
            "known_once_observed",
            pl.col("known_at") >= pl.col("observed_at"),
            "known_at < observed_at",
        ),
    ),
    audit_columns=("ingested_at",),
)

# Premiums are percents at the worst of times; half the price is a misplaced decimal.
_LARGEST_PREMIUM = 0.5

PREMIUMS = Table(
    name="premiums",
    doc="How far a perpetual is from the index of its spot markets at the close of an hour.",
    columns=(
        *_MARKET_KEY,
        Column(
            "premium",
            pl.Float64(),
            "fraction of the index",
            ge=-_LARGEST_PREMIUM,
            le=_LARGEST_PREMIUM,
        ),
        Column("ingested_at", INSTANT, "UTC"),
    ),
    audit_columns=("ingested_at",),
)

# Who publishes each of the indices that are read, as the venue of its rows.
INDEX_PUBLISHERS = {"FEAR_GREED": "alternative.me", "VIX": "yahoo", "DXY": "yahoo"}
# Bounds of them: a value outside is another series, or another unit.
INDEX_BOUNDS = {"FEAR_GREED": (0.0, 100.0), "VIX": (1.0, 200.0), "DXY": (20.0, 300.0)}

INDICES = Table(
    name="indices",
    doc="Daily indices by publisher (venue) and series (symbol), known a written lag after their date began.",
    columns=(
        *_MARKET_KEY,
        Column("date", INSTANT, "UTC"),
        Column("value", pl.Float64(), "that of the series", ge=0),
        Column("ingested_at", INSTANT, "UTC"),
    ),
    rules=(
        RowRule("known_once_begun", pl.col("known_at") >= pl.col("date"), "known_at < date"),
        RowRule(
            "within_its_series",
            pl.all_horizontal(
                (pl.col("symbol") != series) | pl.col("value").is_between(low, high)
                for series, (low, high) in INDEX_BOUNDS.items()
            ),
            "value outside the range of its series",
        ),
    ),
    audit_columns=("ingested_at",),
)

FEATURES = Table(
    name="features",
    doc="One float32 column a feature, null where its window is not valid.",
    columns=_MARKET_KEY,
    open_columns=True,
)

_SCORE_COLUMNS = (
    Column("p_down", pl.Float64(), "probability", ge=0, le=1),
    Column("p_flat", pl.Float64(), "probability", ge=0, le=1),
    Column("p_up", pl.Float64(), "probability", ge=0, le=1),
    Column("expected_return", pl.Float64(), "log return over the label horizon"),
    Column("lower", pl.Float64(), "log return over the label horizon"),
    Column("upper", pl.Float64(), "log return over the label horizon"),
    Column("horizon_bars", pl.Int64(), "bars", gt=0),
)

_SCORE_RULES = (
    RowRule(
        "probabilities_sum_to_one",
        (pl.sum_horizontal("p_down", "p_flat", "p_up") - 1).abs() < 1e-6,
        "p_down + p_flat + p_up is not 1",
    ),
    RowRule("interval_is_ordered", pl.col("lower") <= pl.col("upper"), "lower above upper"),
)

SCORES = Table(
    name="scores",
    doc="What every live model version said of every symbol at its newest bar.",
    columns=(*_MARKET_KEY, Column("model_version", pl.String()), *_SCORE_COLUMNS),
    key=(*KEY, "model_version"),
    rules=_SCORE_RULES,
)

OUTCOMES = Table(
    name="outcomes",
    doc="What came of every score, known once its whole horizon is over; null where the bars do not tell.",
    columns=(
        *_MARKET_KEY,
        Column("model_version", pl.String()),
        Column("scored_at", INSTANT, "UTC"),
        *_SCORE_COLUMNS,
        Column("interval_level", pl.Float64(), "probability", nullable=True, gt=0, le=1),
        Column("outcome", pl.Int64(), "0 down, 1 flat, 2 up", nullable=True, ge=0, le=2),
        Column("realised_return", pl.Float64(), "log return over the label horizon", nullable=True),
        Column("regime", pl.String(), nullable=True),
        Column("reason", pl.String(), nullable=True),
    ),
    key=(*KEY, "model_version", "horizon_bars"),
    rules=(
        *_SCORE_RULES,
        RowRule(
            "closed_after_its_score",
            pl.col("known_at") > pl.col("scored_at"),
            "known_at <= scored_at",
        ),
        RowRule(
            "outcome_or_reason",
            (pl.col("outcome").is_null() == pl.col("realised_return").is_null())
            & (pl.col("outcome").is_null() != pl.col("reason").is_null()),
            "neither an outcome with its return nor a reason, or both",
        ),
    ),
)

OUT_OF_FOLD_SCORES = Table(
    name="out_of_fold_scores",
    doc="Scores of the walk-forward test windows of one training run: no row was seen in its fit.",
    columns=(
        *_MARKET_KEY,
        Column("training_id", pl.String()),
        Column("window", pl.Int64()),
        *_SCORE_COLUMNS,
    ),
    key=(*KEY, "training_id"),
    rules=_SCORE_RULES,
)

_DIFFERENCE = "annual log return of a whole book, or nats"

IMPORTANCE = Table(
    name="importance",
    doc="What each feature was worth to each fit of a training; what was not measured has no row.",
    columns=(
        Column("training_id", pl.String()),
        Column("fit", pl.String()),
        Column("feature", pl.String()),
        Column("kind", pl.String()),
        Column("known_at", INSTANT, "UTC"),
        Column("value", pl.Float64(), "share, nats or log odds"),
    ),
    key=("training_id", "fit", "feature", "kind", "known_at"),
)

COMPARISONS = Table(
    name="comparisons",
    doc="A challenger against the champion of that time on the bars both had since; positive is better.",
    columns=(
        Column("champion", pl.String()),
        Column("challenger", pl.String()),
        Column("known_at", INSTANT, "UTC"),
        Column("measure", pl.String()),
        Column("since", INSTANT, "UTC"),
        Column("verdict", pl.String()),
        Column("reason", pl.String()),
        Column("bars", pl.Int64(), "count", ge=0),
        Column("blocks", pl.Int64(), "count", ge=0),
        Column("level", pl.Float64(), "probability", gt=0, le=1),
        Column("mean_difference", pl.Float64(), _DIFFERENCE, nullable=True),
        Column("lower", pl.Float64(), _DIFFERENCE, nullable=True),
        Column("upper", pl.Float64(), _DIFFERENCE, nullable=True),
        Column("e_value", pl.Float64(), "evidence for better", nullable=True, ge=0),
        Column("e_value_worse", pl.Float64(), "evidence for worse", nullable=True, ge=0),
        Column("p_bootstrap", pl.Float64(), "probability", nullable=True, ge=0, le=1),
        Column("days_to_decision", pl.Float64(), "days, as observed", nullable=True, ge=0),
        Column("days_at_declared", pl.Float64(), "days, as declared", nullable=True, ge=0),
        *(
            Column(f"minimum_detectable_{days}d", pl.Float64(), _DIFFERENCE, nullable=True, gt=0)
            for days in HORIZONS
        ),
    ),
    key=("champion", "challenger", "known_at", "measure"),
    rules=(
        RowRule(
            "verdict_is_known",
            pl.col("verdict").is_in(["better", "worse", "undecided", "not_comparable"]),
            "a verdict that does not exist",
        ),
        RowRule(
            "bounds_are_ordered",
            pl.any_horizontal(pl.col("lower").is_null(), pl.col("upper").is_null())
            | (pl.col("lower") <= pl.col("upper")),
            "lower above upper",
        ),
    ),
)

PROMOTION_GATES = Table(
    name="promotion_gates",
    doc="One row a gate: what a challenger showed against the champion of that time, and the bound.",
    columns=(
        Column("champion", pl.String()),
        Column("challenger", pl.String()),
        Column("known_at", INSTANT, "UTC"),
        Column("gate", pl.String()),
        Column("observed", pl.Float64(), "that of the gate", nullable=True),
        Column("rule", pl.String()),
        Column("bound", pl.Float64(), "that of the gate"),
        Column("passed", pl.Boolean()),
        Column("required", pl.Boolean()),
        Column("reason", pl.String()),
    ),
    key=("champion", "challenger", "known_at", "gate"),
)

DecisionOutcome = Literal[
    "promoted", "proposed", "ready", "kept", "rejected", "refused", "rolled_back", "repaired"
]

DECISIONS = Table(
    name="decisions",
    doc="What was decided about who is champion, and why; also what was not done.",
    columns=(
        Column("known_at", INSTANT, "UTC"),
        Column("step", pl.String()),
        Column("outcome", pl.String()),
        Column("champion", pl.String()),
        Column("version", pl.String()),
        Column("effective_from", INSTANT, "UTC", nullable=True),
        Column("evidence", pl.Float64(), "e-value", nullable=True, ge=0),
        Column("reason", pl.String()),
        Column("decided_by", pl.String()),
    ),
    key=("known_at", "step", "outcome", "champion", "version"),
    rules=(
        RowRule(
            "outcome_is_known",
            pl.col("outcome").is_in(get_args(DecisionOutcome)),
            "an outcome that does not exist",
        ),
    ),
)

QUALITY = Table(
    name="quality",
    doc="One row a check a run: what was observed, the bound and whether it held.",
    columns=(
        Column("table", pl.String()),
        Column("check", pl.String()),
        Column("venue", pl.String()),
        Column("symbol", pl.String()),
        Column("known_at", INSTANT, "UTC"),
        Column("observed", pl.String()),
        Column("bound", pl.String()),
        Column("passed", pl.Boolean()),
        Column("failing_rows", pl.Int64(), "count", ge=0),
        Column("checked_at", INSTANT, "UTC"),
    ),
    key=("table", "check", "venue", "symbol", "known_at"),
    audit_columns=("checked_at",),
)

QUARANTINE = Table(
    name="quarantine",
    doc="Rows that were refused, as JSON, with the reason; never read by a downstream step.",
    columns=(
        *_MARKET_KEY,
        Column("table", pl.String()),
        Column("reason", pl.String()),
        Column("row", pl.String(), "JSON"),
        Column("quarantined_at", INSTANT, "UTC"),
    ),
    key=("table", *KEY, "reason"),
    audit_columns=("quarantined_at",),
)

DRIFT = Table(
    name="drift",
    doc="One row a statistic a day: the last window against what the champion was trained on; and the hour's pulse.",
    columns=(
        Column("model_version", pl.String()),
        Column("known_at", INSTANT, "UTC"),
        Column("group", pl.String()),
        Column("feature", pl.String()),
        Column("statistic", pl.String()),
        Column("observed", pl.Float64(), "that of the statistic", nullable=True),
        Column("cut", pl.Float64(), "that of the statistic", nullable=True),
        Column("p_value", pl.Float64(), "probability", nullable=True, ge=0, le=1),
        Column("joint_p", pl.Float64(), "probability", nullable=True, ge=0, le=1),
        Column("n", pl.Int64(), "count", ge=0),
        Column("alarm", pl.Boolean()),
        Column("reason", pl.String()),
        Column("checked_at", INSTANT, "UTC"),
    ),
    key=("model_version", "known_at", "group", "feature", "statistic"),
    audit_columns=("checked_at",),
)

LAKE_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        BARS,
        FUNDING,
        OPEN_INTEREST,
        PREMIUMS,
        INDICES,
        FEATURES,
        SCORES,
        OUTCOMES,
        OUT_OF_FOLD_SCORES,
        IMPORTANCE,
        COMPARISONS,
        PROMOTION_GATES,
        DECISIONS,
        DRIFT,
        QUALITY,
        QUARANTINE,
    )
}


def contract(name: str) -> Table:
    """Return the contract of the lake table `name`; `bars_<timeframe>` follow the bars contract."""
    if name.startswith("bars_"):
        return bars_table(name)
    return LAKE_TABLES[name]


def bars_table_name(timeframe: str, traded_timeframe: str) -> str:
    """Return `bars` for the traded timeframe and `bars_<timeframe>` for any other."""
    return "bars" if timeframe == traded_timeframe else f"bars_{timeframe}"


def features_table(feature_names: Sequence[str]) -> Table:
    """Return the features contract widened by one nullable float32 column a feature."""
    return Table(
        name=FEATURES.name,
        doc=FEATURES.doc,
        columns=(
            *FEATURES.columns,
            *(Column(name, pl.Float32(), nullable=True) for name in feature_names),
        ),
        open_columns=True,
    )
