"""What a track record was worth. Pure functions of equity curves, returns and round trips.

Crypto trades around the clock: annual figures use `bars_per_year` bars (8,760 of an hour), never
252 days. Gains are positive and losses negative, except `value_at_risk` and `expected_shortfall`,
which are stated as losses. Everything is a fraction of one unless a unit is named. An equity curve
starts with the capital before the first bar, so T bars have T + 1 values. Every function returns
NaN where its definition divides by nothing; a NaN return (after a bankruptcy) makes the figures
that read it NaN. The risk-free rate is zero: cash in these books earns nothing.
"""

from evaluation.metrics.drawdown import (
    calmar,
    drawdowns,
    max_drawdown,
    max_drawdown_bars,
    recovery_factor,
    ulcer_index,
)
from evaluation.metrics.ratios import gain_to_pain, omega, sharpe, sortino
from evaluation.metrics.relative import alpha_beta, compare, information_ratio
from evaluation.metrics.returns import (
    amounts,
    annual_return,
    bar_returns,
    exposure,
    total_return,
    turnover,
    volatility,
)
from evaluation.metrics.significance import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_error,
)
from evaluation.metrics.summary import summarise
from evaluation.metrics.tails import (
    expected_shortfall,
    kurtosis,
    skew,
    tail_ratio,
    value_at_risk,
)
from evaluation.metrics.trades import (
    expectancy,
    payoff_ratio,
    profit_factor,
    trade_metrics,
    win_rate,
)

__all__ = [
    "alpha_beta",
    "amounts",
    "annual_return",
    "bar_returns",
    "calmar",
    "compare",
    "deflated_sharpe",
    "drawdowns",
    "expectancy",
    "expected_maximum_sharpe",
    "expected_shortfall",
    "exposure",
    "gain_to_pain",
    "information_ratio",
    "kurtosis",
    "max_drawdown",
    "max_drawdown_bars",
    "minimum_track_record",
    "omega",
    "payoff_ratio",
    "probabilistic_sharpe",
    "profit_factor",
    "recovery_factor",
    "sharpe",
    "sharpe_error",
    "skew",
    "sortino",
    "summarise",
    "tail_ratio",
    "total_return",
    "trade_metrics",
    "turnover",
    "ulcer_index",
    "value_at_risk",
    "volatility",
    "win_rate",
]
