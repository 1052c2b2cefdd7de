"""One self-contained page of how the books did: equity, costs, trades, and checks that failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa
from jinja2 import Environment, PackageLoader

from evaluation.promotion.candidacy import GATES
from pipelines.clock import format_instant
from pipelines.comparison_list import sequences
from pipelines.context import Context
from pipelines.quality import ALL
from pipelines.tables import COMPARISONS, DECISIONS, INSTANT, PROMOTION_GATES, QUALITY

DAYS = 30
_LISTED = 100
_REIGNS = 12
_WIDTH, _HEIGHT = 960, 280
_POINTS = 480
_SMALL = (180, 44)

_EQUITY = sa.text(
    """
    SELECT b.name, e.known_at, e.equity FROM equity e JOIN books b USING (book_id)
    WHERE e.known_at > :start AND e.known_at <= :end ORDER BY b.name, e.known_at
    """
)
# Means weigh a fill by its notional: what a unit of money that was traded paid. Fills of before the
# analysis was recorded are not in them.
_ANALYSED = "nullif(sum(f.notional) FILTER (WHERE f.slippage_bps IS NOT NULL), 0)"
_COSTS = sa.text(
    f"""
    SELECT b.name, count(*) AS fills, sum(f.notional) AS turnover, sum(f.fee) AS fees,
        sum(abs(f.price - f.reference_price) * f.quantity) AS slippage, sum(f.realised) AS realised,
        sum(f.slippage_bps * f.notional) / {_ANALYSED} AS slippage_bps,
        sum(f.spread_bps * f.notional) / {_ANALYSED} AS spread_bps,
        sum(f.impact_bps * f.notional) / {_ANALYSED} AS impact_bps,
        sum(f.fee_bps * f.notional) / {_ANALYSED} AS fee_bps
    FROM fills f JOIN books b USING (book_id)
    WHERE f.known_at > :start AND f.known_at <= :end GROUP BY b.name
    """
)
_TRADES = sa.text(
    """
    SELECT f.known_at, b.name, f.symbol, f.kind, f.side, f.quantity, f.price, f.notional, f.fee, f.realised
    FROM fills f JOIN books b USING (book_id)
    WHERE f.known_at > :start AND f.known_at <= :end
    ORDER BY f.known_at DESC, b.name, f.symbol, f.fill_id LIMIT :listed
    """
)


@dataclass(frozen=True)
class Curve:
    """One book's equity over the span, and its line in the chart (SVG points)."""

    book: str
    first: float
    last: float
    worst: float
    points: str

    @property
    def change(self) -> float:
        """Return over the span, fraction."""
        return self.last / self.first - 1.0


def render_report(context: Context, as_of: datetime) -> str:
    """Return the page for the `DAYS` days before `as_of`, as HTML that needs nothing else.

    The page is a function of the ledger and the lake up to `as_of`.
    """
    start = as_of - timedelta(days=DAYS)
    standing = context.ledger.status(as_of)
    equity, costs, trades = _read(context, start, as_of)
    failed = (
        context.lake.read(QUALITY.name, start=start, end=as_of)
        .filter(~pl.col("passed") & (pl.col("symbol") != ALL))
        .sort("known_at", "table", "check", "symbol", descending=True)
    )
    compared = context.lake.read(COMPARISONS.name, start=start, end=as_of)
    decided = context.lake.read(DECISIONS.name, start=start, end=as_of)
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["instant"] = format_instant
    return environment.get_template("report.html.jinja").render(
        as_of=as_of,
        start=start,
        days=DAYS,
        champion=standing["champion"],
        ledger=standing["ledger"],
        books=standing["books"],
        curves={curve.book: curve for curve in curves(equity, start, as_of)},
        costs={row["name"]: row for row in costs},
        comparisons=sequences(compared, start, as_of, *_SMALL),
        small=_SMALL,
        reigns=[p for p in context.ledger.promotions() if p.effective_from <= as_of][-_REIGNS:],
        decisions=told_decisions(decided),
        gates=gate_table(context.lake.read(PROMOTION_GATES.name, start=start, end=as_of)),
        trades=trades,
        traded=sum(row["fills"] for row in costs),
        failed=failed.head(_LISTED).to_dicts(),
        failed_count=failed.height,
        listed=_LISTED,
        width=_WIDTH,
        height=_HEIGHT,
        bounds=_bounds(equity),
    )


def told_decisions(decided: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what was decided, newest first: whatever changed or was asked, and who was kept out last."""
    newest = pl.col("known_at") == pl.col("known_at").max()
    told = decided.filter((pl.col("outcome") != "kept") | newest)
    return told.sort("known_at", descending=True, maintain_order=True).head(_LISTED).to_dicts()


def gate_table(gates: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the gates of the newest look: by gate, by challenger, the row of `promotion_gates`."""
    newest = gates.filter(pl.col("known_at") == pl.col("known_at").max())
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for row in newest.iter_rows(named=True):
        table.setdefault(row["gate"], {})[row["challenger"]] = row
    order = [name for name in GATES if name in table]
    return {name: table[name] for name in order}


def curves(equity: pl.DataFrame, start: datetime, end: datetime) -> list[Curve]:
    """Return each book's curve, on one scale.

    Parameters
    ----------
    equity : polars.DataFrame
        Columns name, known_at, equity [quote], sorted by both; `start < known_at <= end`.
    """
    low, high = _bounds(equity)
    span = (end - start).total_seconds()
    found = []
    for (name,), group in equity.group_by("name", maintain_order=True):
        values = group["equity"]
        thinned = group.gather_every(max(1, group.height // _POINTS))
        x = (thinned["known_at"] - start).dt.total_seconds() / span * _WIDTH
        y = _HEIGHT - (thinned["equity"] - low) / (high - low) * _HEIGHT
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        worst = float((values / values.cum_max() - 1.0).min())  # type: ignore[arg-type]
        found.append(Curve(str(name), float(values[0]), float(values[-1]), worst, points))
    return found


def _bounds(equity: pl.DataFrame) -> tuple[float, float]:
    """Return the chart's lowest and highest value, 2 % beyond the data."""
    if equity.is_empty():
        return 0.0, 1.0
    low, high = float(equity["equity"].min()), float(equity["equity"].max())  # type: ignore[arg-type]
    return low * 0.98, high * 1.02


def _read(
    context: Context, start: datetime, end: datetime
) -> tuple[pl.DataFrame, list[dict[str, Any]], list[dict[str, Any]]]:
    span = {"start": start, "end": end}
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = [(n, t, float(e)) for n, t, e in connection.execute(_EQUITY, span)]
        costs = [dict(row) for row in connection.execute(_COSTS, span).mappings()]
        trades = connection.execute(_TRADES, {**span, "listed": _LISTED}).mappings()
        schema = {"name": pl.String(), "known_at": INSTANT, "equity": pl.Float64()}
        return pl.DataFrame(rows, schema=schema, orient="row"), costs, [dict(t) for t in trades]
