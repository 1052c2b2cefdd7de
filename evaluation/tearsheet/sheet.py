"""The sheet itself: one frozen object, and the function that fills it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from evaluation.breakdown import (
    by_exit,
    by_regime,
    by_symbol,
    calendar,
    monthly_returns,
    trend_regimes,
)
from evaluation.metrics import bar_returns, compare, deflated_sharpe, gain_to_pain
from evaluation.tearsheet.record import Sections, TrackRecord
from evaluation.tearsheet.series import ROLLING_DAYS, build_curve, build_distribution, thinned
from evaluation.transaction_costs import cost_totals, costs_by
from evaluation.waterfall import explain_silence
from serving.limits import bars_per_year


@dataclass(frozen=True)
class TearSheet:
    """The data of one sheet.

    Attributes
    ----------
    title, stamp : str
        The stamp is a warning over every page ("IN-SAMPLE: ..."); empty for none.
    start, end : datetime
        known_at of the first and last bar.
    bars : int
    timeframe : timedelta
    initial_cash : float
    metrics, benchmark : mapping
        Figures by name of the strategy and of buying and holding; the latter is empty where none was given.
    explanation : str
        Why it did, or did not, trade.
    curve : polars.DataFrame
        Every bar: known_at, equity, drawdown, exposure [fraction of equity], rolling_sharpe (30 days,
        annual, null before), buy_and_hold [quote, from the same capital], buy_and_hold_drawdown.
    months : polars.DataFrame
        year, "1" ... "12", total.
    distribution : polars.DataFrame
        low, high [daily return], days, buy_and_hold_days.
    by_symbol, by_exit : polars.DataFrame
        See `evaluation.breakdown`.
    by_regime : polars.DataFrame
        kind ("trend" or "stress") and the columns of `evaluation.breakdown.by_regime`.
    trades : polars.DataFrame
        All round trips.
    costs, costs_by_kind, costs_by_symbol : polars.DataFrame
        See `evaluation.transaction_costs`.
    waterfall : polars.DataFrame
        stage, count.
    sections : Sections
    """

    title: str
    stamp: str
    start: datetime
    end: datetime
    bars: int
    timeframe: timedelta
    initial_cash: float
    metrics: Mapping[str, float]
    benchmark: Mapping[str, float]
    explanation: str
    curve: pl.DataFrame
    months: pl.DataFrame
    distribution: pl.DataFrame
    by_symbol: pl.DataFrame
    by_exit: pl.DataFrame
    by_regime: pl.DataFrame
    trades: pl.DataFrame
    costs: pl.DataFrame
    costs_by_kind: pl.DataFrame
    costs_by_symbol: pl.DataFrame
    waterfall: pl.DataFrame
    sections: Sections

    def as_json(self) -> dict[str, Any]:
        """Return the sheet as plain JSON types: rows as objects, instants as ISO 8601, NaN as None.

        The curve is thinned as `thinned` does it; everything else is whole.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["curve"] = thinned(self.curve)
        plain["timeframe"] = self.timeframe.total_seconds()
        plain["sections"] = {k.name: getattr(self.sections, k.name) for k in fields(self.sections)}
        answer: dict[str, Any] = _plain(plain)
        return answer


def tear_sheet(
    record: TrackRecord,
    *,
    title: str,
    benchmark: TrackRecord | None = None,
    trials: int | None = None,
    trial_variance: float = math.nan,
    stamp: str = "",
    sections: Sections | None = None,
) -> TearSheet:
    """Turn a track record into the data of a tear sheet.

    Parameters
    ----------
    record : TrackRecord
    title : str
    benchmark : TrackRecord, optional
        Buying and holding the same symbols over the same bars from the same capital.
    trials : int, optional
        How many strategies were tried before this one; with it the Sharpe ratio is deflated.
    trial_variance : float
        Variance of their annual Sharpe ratios.
    stamp : str
        A warning to stand over every page.
    sections : Sections, optional

    Raises
    ------
    ValueError
        If the record has no bars, the benchmark is of other bars, there is not one regime a bar, or
        trials are given without their variance.
    """
    _check(record, benchmark)
    times = record.equity["known_at"]
    return TearSheet(
        title=title,
        stamp=stamp,
        start=times[0],
        end=times[-1],
        bars=len(times),
        timeframe=record.timeframe,
        initial_cash=record.initial_cash,
        metrics=_metrics(record, benchmark, trials, trial_variance),
        benchmark={} if benchmark is None else _own_metrics(benchmark),
        explanation=explain_silence(record.waterfall),
        curve=build_curve(record, benchmark),
        months=calendar(monthly_returns(record.equity, record.initial_cash)),
        distribution=build_distribution(record, benchmark),
        by_symbol=by_symbol(record.trades),
        by_exit=by_exit(record.trades),
        by_regime=_regimes(record, benchmark),
        trades=record.trades,
        costs=cost_totals(record.fills, record.initial_cash),
        costs_by_kind=costs_by(record.fills, "kind"),
        costs_by_symbol=costs_by(record.fills, "symbol"),
        waterfall=record.waterfall,
        sections=sections or Sections(),
    )


def _check(record: TrackRecord, benchmark: TrackRecord | None) -> None:
    if record.equity.is_empty():
        raise ValueError("the record has no bars; backtest a span that has some")
    if benchmark is not None and not benchmark.equity["known_at"].equals(record.equity["known_at"]):
        raise ValueError(
            f"the benchmark has {benchmark.equity.height} bars and the record {record.equity.height}, or "
            "other ones; walk both over the same panel"
        )


def _own_metrics(record: TrackRecord) -> dict[str, float]:
    months = monthly_returns(record.equity, record.initial_cash)["return"].to_numpy()
    return {**record.metrics, "gain_to_pain_months": gain_to_pain(months)}


def _metrics(
    record: TrackRecord, benchmark: TrackRecord | None, trials: int | None, trial_variance: float
) -> dict[str, float]:
    figures = _own_metrics(record)
    returns, year = bar_returns(record.curve), bars_per_year(record.timeframe)
    if benchmark is not None:
        figures |= compare(returns, bar_returns(benchmark.curve), year)
    if trials is not None:
        figures["trials"] = float(trials)
        figures["deflated_sharpe"] = deflated_sharpe(
            returns, year, trials=trials, trial_variance=trial_variance
        )
    return figures


def _regimes(record: TrackRecord, benchmark: TrackRecord | None) -> pl.DataFrame:
    returns, year = bar_returns(record.curve), bars_per_year(record.timeframe)
    other = None if benchmark is None else bar_returns(benchmark.curve)
    labels = {"stress": record.stress}
    if benchmark is not None:
        window = timedelta(days=ROLLING_DAYS) // record.timeframe
        labels["trend"] = trend_regimes(benchmark.curve, window)
    none = pl.Series("regime", [None] * returns.size, dtype=pl.String)
    return pl.concat(
        by_regime(returns, none if known is None else known, year, other).select(
            pl.lit(kind).alias("kind"), pl.all()
        )
        for kind, known in labels.items()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, pl.DataFrame):
        return [_plain(row) for row in value.iter_rows(named=True)]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
