"""The figures of a record in the order a reader asks for them, each with its name and its meaning."""

from typing import NamedTuple

from pipelines.tearsheet.formats import Kind


class Figure(NamedTuple):
    """One metric: its key in `TearSheet.metrics`, how it is called and what it means."""

    key: str
    label: str
    kind: Kind
    meaning: str


GROUPS: dict[str, tuple[Figure, ...]] = {
    "Return": (
        Figure("total_return", "Total return", "percent", "after all costs"),
        Figure("annual_return", "Annual return", "percent", "compound, 365 days of 24 hours"),
        Figure("volatility", "Volatility", "share", "annual"),
        Figure("exposure", "Exposure", "share", "mean share of equity in positions"),
        Figure("alpha", "Alpha", "percent", "annual, to buying and holding"),
        Figure("beta", "Beta", "ratio", "to buying and holding"),
        Figure("correlation", "Correlation", "ratio", "to buying and holding"),
        Figure("information_ratio", "Information ratio", "ratio", "annual, to buying and holding"),
    ),
    "Reward for risk": (
        Figure("sharpe", "Sharpe ratio", "ratio", "annual, risk-free rate 0"),
        Figure("sharpe_error", "Its standard error", "ratio", "Lo, autocorrelation included"),
        Figure("probabilistic_sharpe", "Probability that it is above 0", "share", "PSR"),
        Figure("deflated_sharpe", "The same after the search", "share", "DSR, for all trials"),
        Figure("trials", "Trials before it", "count", "all that were tried"),
        Figure("sortino", "Sortino ratio", "ratio", "annual, target 0"),
        Figure("calmar", "Calmar ratio", "ratio", "annual return over max drawdown"),
        Figure("omega", "Omega", "ratio", "gains over losses of bars"),
        Figure("gain_to_pain_months", "Gain to pain", "ratio", "calendar months"),
        Figure("recovery_factor", "Recovery factor", "ratio", "total return over max drawdown"),
    ),
    "Risk": (
        Figure("max_drawdown", "Max drawdown", "percent", "from a peak, at closes"),
        Figure("max_drawdown_bars", "Longest drawdown", "count", "bars below a peak"),
        Figure("ulcer_index", "Ulcer index", "fraction", "root mean square drawdown"),
        Figure("value_at_risk", "VaR 95 %", "fraction", "loss of one bar, historical"),
        Figure("expected_shortfall", "CVaR 95 %", "fraction", "mean loss beyond it"),
        Figure("tail_ratio", "Tail ratio", "ratio", "95th over 5th percentile"),
        Figure("skew", "Skewness", "ratio", "of bar returns"),
        Figure("kurtosis", "Excess kurtosis", "ratio", "of bar returns, 0 if normal"),
    ),
    "Trades": (
        Figure("trades", "Round trips", "count", "closed"),
        Figure("win_rate", "Win rate", "share", "net of costs"),
        Figure("profit_factor", "Profit factor", "ratio", "gains over losses"),
        Figure("payoff_ratio", "Payoff ratio", "ratio", "mean gain over mean loss"),
        Figure("expectancy", "Expectancy", "money", "mean gain of a trade, quote"),
        Figure("expectancy_r", "Expectancy in R", "ratio", "of initial risks"),
        Figure("mean_trade_return", "Mean trade return", "percent", "of what was invested"),
        Figure("mean_bars_held", "Mean holding time", "ratio", "bars"),
        Figure("mean_mae", "Mean adverse excursion", "percent", "worst point of a trade"),
        Figure("mean_mfe", "Mean favourable excursion", "percent", "best point of a trade"),
        Figure("fills", "Fills", "count", ""),
        Figure("turnover", "Turnover", "ratio", "times equity a year, both sides"),
        Figure("fees", "Fees", "money", "quote"),
    ),
}

TILES = (
    "total_return",
    "annual_return",
    "sharpe",
    "max_drawdown",
    "win_rate",
    "profit_factor",
    "exposure",
    "trades",
)
BY_KEY = {figure.key: figure for group in GROUPS.values() for figure in group}
