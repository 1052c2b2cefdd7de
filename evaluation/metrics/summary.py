"""All figures of one track record by name."""

from evaluation.metrics.drawdown import (
    calmar,
    max_drawdown,
    max_drawdown_bars,
    recovery_factor,
    ulcer_index,
)
from evaluation.metrics.ratios import gain_to_pain, omega, sharpe, sortino
from evaluation.metrics.returns import (
    annual_return,
    bar_returns,
    exposure,
    total_return,
    turnover,
    volatility,
)
from evaluation.metrics.significance import probabilistic_sharpe, sharpe_error
from evaluation.metrics.tails import (
    expected_shortfall,
    kurtosis,
    skew,
    tail_ratio,
    value_at_risk,
)
from evaluation.metrics.trades import expectancy, payoff_ratio, profit_factor, win_rate
from serving.compiled import Floats


def summarise(
    equity: Floats,
    position_value: Floats,
    gains: Floats,
    *,
    traded: float,
    fees: float,
    fills: int,
    bars_per_year: float,
) -> dict[str, float]:
    """Return all figures that need nothing but the record itself, by name.

    Beside it stand `trade_metrics` (what a frame of round trips adds), `compare` (a benchmark) and
    `deflated_sharpe` (the number of trials).

    Parameters
    ----------
    equity : float64 (T + 1,)
        Starting with the initial capital.
    position_value : float64 (T,)
        Value of the positions at each close.
    gains : float64 (trades,)
        What each trade realised, after the fees of both sides.
    traded, fees : float
        Sums over the span, quote.
    fills : int
    bars_per_year : float
    """
    returns = bar_returns(equity)
    return {
        "total_return": total_return(equity),
        "annual_return": annual_return(equity, bars_per_year),
        "volatility": volatility(returns, bars_per_year),
        **_rewards(equity, returns, bars_per_year),
        **_risks(equity, returns),
        "turnover": turnover(traded, equity, bars_per_year),
        "fees": fees,
        "exposure": exposure(position_value, equity[1:]),
        "win_rate": win_rate(gains),
        "profit_factor": profit_factor(gains),
        "payoff_ratio": payoff_ratio(gains),
        "expectancy": expectancy(gains),
        "fills": float(fills),
        "trades": float(gains.size),
    }


def _rewards(equity: Floats, returns: Floats, bars_per_year: float) -> dict[str, float]:
    return {
        "sharpe": sharpe(returns, bars_per_year),
        "sharpe_error": sharpe_error(returns, bars_per_year),
        "probabilistic_sharpe": probabilistic_sharpe(returns, bars_per_year),
        "sortino": sortino(returns, bars_per_year),
        "calmar": calmar(equity, bars_per_year),
        "omega": omega(returns),
        "gain_to_pain": gain_to_pain(returns),
        "recovery_factor": recovery_factor(equity),
    }


def _risks(equity: Floats, returns: Floats) -> dict[str, float]:
    return {
        "max_drawdown": max_drawdown(equity),
        "max_drawdown_bars": float(max_drawdown_bars(equity)),
        "ulcer_index": ulcer_index(equity),
        "value_at_risk": value_at_risk(returns),
        "expected_shortfall": expected_shortfall(returns),
        "tail_ratio": tail_ratio(returns),
        "skew": skew(returns),
        "kurtosis": kurtosis(returns),
    }
