"""How much money a strategy can carry before its own orders eat what it earns."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from evaluation.backtest import BacktestResult, Setup, backtest_all
from serving.books import Inputs, Scores
from serving.market import check_capital

MULTIPLES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_PLACED = ("market", "limit", "stop")


def capacity(
    inputs: Inputs,
    scores: Scores | None,
    setup: Setup,
    *,
    strategy: str = "model",
    multiples: Sequence[float] = MULTIPLES,
    threads: int = 2,
) -> pl.DataFrame:
    """Trade the same opinions with more and more capital.

    Impact grows with an order's share of the bar's volume, and `participation_cap` cuts what is left
    of it: both bound the capital a strategy can use.

    Parameters
    ----------
    inputs, scores, strategy, setup
        As in `evaluate_all`; `setup.initial_cash` is the multiple 1.
    multiples : sequence of float
        Of the capital; one whose quantities would not fit the engine's counts is left out.
    threads : int

    Returns
    -------
    polars.DataFrame
        capital [quote], annual_return, sharpe, impact_bps [mean slippage beyond the spread, weighted
        by notional; NaN without fills], filled_share [of what was ordered, at the price of the
        decision; NaN without orders].
    """
    capitals = [setup.initial_cash * multiple for multiple in multiples]
    traded = [capital for capital in capitals if _fits(inputs, capital)]
    setups = [setup._replace(initial_cash=capital) for capital in traded]
    results = backtest_all(inputs, scores, setups, strategy=strategy, threads=threads)
    return pl.DataFrame(
        [
            {
                "capital": capital,
                "annual_return": result.metrics["annual_return"],
                "sharpe": result.metrics["sharpe"],
                "impact_bps": impact_bps(result.fills),
                "filled_share": filled_share(result),
            }
            for capital, result in zip(traded, results, strict=True)
        ],
        schema=dict.fromkeys(_COLUMNS, pl.Float64()),
    )


_COLUMNS = ("capital", "annual_return", "sharpe", "impact_bps", "filled_share")


def impact_bps(fills: pl.DataFrame) -> float:
    """Return the mean impact of all fills, weighted by notional; NaN if there are none."""
    traded = fills.filter(pl.col("side") != "funding")
    notional = traded.get_column("notional").to_numpy()
    if not notional.sum() > 0.0:
        return float("nan")
    return float(np.average(traded.get_column("impact_bps").to_numpy(), weights=notional))


def filled_share(result: BacktestResult) -> float:
    """Return how much of what was ordered was filled, both at the price of the decision.

    Orders of the last bar never met another one and do not count; nor do protective exits.
    """
    last = result.equity.get_column("known_at").max()
    met = pl.col("kind").is_in(_PLACED) & (pl.col("known_at") < last)
    asked = result.orders.filter(met).select(pl.col("quantity") * pl.col("reference_price"))
    filled = result.fills.filter(pl.col("kind").is_in(_PLACED)).select(
        pl.col("quantity") * pl.col("arrival_price")
    )
    total = float(asked.sum().item() or 0.0)
    return float(filled.sum().item() or 0.0) / total if total > 0.0 else float("nan")


def _fits(inputs: Inputs, capital: float) -> bool:
    try:
        check_capital(inputs.panel, capital)
    except ValueError:
        return False
    return True
