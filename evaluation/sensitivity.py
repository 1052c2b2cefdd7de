"""How much of a result hangs on the exact value of a parameter, and how much on costs.

A strategy worth trading sits on a plateau: its neighbours earn about the same. Every point is a walk
of the same engine over the same bars.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from evaluation.backtest import Outcome, Setup, evaluate_all
from serving.books import Inputs, Scores
from serving.config import CostConfig

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
PARAMETERS = (
    "kelly_fraction",
    "volatility_target",
    "risk_per_trade",
    "stop_atr_multiple",
    "max_asset_weight",
    "max_positions",
    "no_trade_band",
    "stop_cooldown_bars",
)
GRID = ("kelly_fraction", "no_trade_band")
COST_MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_SCALED_COSTS = (
    "maker_fee_rate",
    "taker_fee_rate",
    "spread_rate",
    "slippage_rate",
    "impact_coefficient",
)


def sensitivity(
    inputs: Inputs,
    scores: Scores | None,
    setup: Setup,
    *,
    strategy: str = "model",
    parameters: Sequence[str] = PARAMETERS,
    factors: Sequence[float] = FACTORS,
    threads: int = 2,
) -> pl.DataFrame:
    """Turn one parameter of the risk configuration at a time.

    Parameters
    ----------
    inputs, scores, strategy
        As in `evaluate_all`.
    setup : Setup
        The centre.
    parameters : sequence of str
        Keys of `RiskConfig` that hold numbers; one that is switched off (0 or None) is passed over.
    factors : sequence of float
        Multiples of the parameter's value; a value the configuration does not accept is passed
        over, whole numbers are rounded.
    threads : int

    Returns
    -------
    polars.DataFrame
        parameter, value, total_return, sharpe, max_drawdown, fills; sorted as asked.
    """
    points = [
        (parameter, value, moved)
        for parameter in parameters
        for value in _values(setup, parameter, factors)
        if (moved := _moved(setup, {parameter: value})) is not None
    ]
    outcomes = evaluate_all(
        inputs,
        scores,
        [moved for *_, moved in points],
        strategy=strategy,
        threads=threads,
        counting=True,
    )
    return pl.DataFrame(
        [
            {"parameter": parameter, "value": float(value), **_figures(outcome)}
            for (parameter, value, _), outcome in zip(points, outcomes, strict=True)
        ],
        schema={"parameter": pl.String(), "value": pl.Float64(), **_FIGURES},
    )


def sensitivity_grid(
    inputs: Inputs,
    scores: Scores | None,
    setup: Setup,
    *,
    strategy: str = "model",
    parameters: tuple[str, str] = GRID,
    factors: Sequence[float] = FACTORS,
    threads: int = 2,
) -> pl.DataFrame:
    """Turn two parameters together; columns are their names, then as in `sensitivity`."""
    values = (_values(setup, parameter, factors) for parameter in parameters)
    points = [
        (point, moved)
        for pair in itertools.product(*values)
        if (moved := _moved(setup, point := dict(zip(parameters, pair, strict=True)))) is not None
    ]
    outcomes = evaluate_all(
        inputs,
        scores,
        [moved for _, moved in points],
        strategy=strategy,
        threads=threads,
        counting=True,
    )
    return pl.DataFrame(
        [
            {**{key: float(value) for key, value in point.items()}, **_figures(outcome)}
            for (point, _), outcome in zip(points, outcomes, strict=True)
        ],
        schema={**dict.fromkeys(parameters, pl.Float64()), **_FIGURES},
    )


def cost_sensitivity(
    inputs: Inputs,
    scores: Scores | None,
    setup: Setup,
    *,
    strategy: str = "model",
    multiples: Sequence[float] = COST_MULTIPLES,
    threads: int = 2,
) -> pl.DataFrame:
    """Trade under multiples of all costs: fees, spread and impact.

    The strategy is told of the costs and may trade less; what the trades it made would have earned
    under other costs is `same_trades`.

    Returns
    -------
    polars.DataFrame
        multiple, total_return, sharpe, max_drawdown, fills.

    Raises
    ------
    ValueError
        If a multiple brings a rate beyond what `CostConfig` accepts.
    """
    setups = [setup._replace(costs=scaled_costs(setup.costs, multiple)) for multiple in multiples]
    outcomes = evaluate_all(
        inputs, scores, setups, strategy=strategy, threads=threads, counting=True
    )
    return pl.DataFrame(
        [
            {"multiple": float(multiple), **_figures(outcome)}
            for multiple, outcome in zip(multiples, outcomes, strict=True)
        ],
        schema={"multiple": pl.Float64(), **_FIGURES},
    )


def scaled_costs(costs: CostConfig, multiple: float) -> CostConfig:
    """Return `costs` with fees, spread and impact times `multiple`; ValueError beyond their bounds."""
    tree: dict[str, Any] = costs.model_dump()
    for name in _SCALED_COSTS:
        if name in tree:
            tree[name] *= multiple
    for tier in tree.get("fee_tiers", ()):
        tier["maker_fee_rate"] *= multiple
        tier["taker_fee_rate"] *= multiple
    return CostConfig.model_validate(tree)


def same_trades(
    fills: pl.DataFrame,
    total_return: float,
    initial_cash: float,
    multiples: Sequence[float] = COST_MULTIPLES,
) -> tuple[pl.DataFrame, float]:
    """Return what a fixed list of fills would have earned under multiples of its costs.

    net(m) = (gross - m costs) / capital, where the costs are fees and what the prices were away from
    their references, and gross is the profit with both added back. Capital that costs would have
    eaten is not traded less: this is an upper bound of the loss.

    Parameters
    ----------
    fills : polars.DataFrame
        Of a `BacktestResult`, all of them.
    total_return : float
        Of the same backtest, fraction of `initial_cash`.
    initial_cash : float
    multiples : sequence of float

    Returns
    -------
    polars.DataFrame
        multiple, total_return.
    float
        The multiple at which the trades earn nothing; NaN if they lose without any costs, or had
        none.
    """
    traded = fills.filter(pl.col("side") != "funding")
    slipped = (pl.col("price") - pl.col("reference_price")).abs() * pl.col("quantity")
    costs = float(traded.select((slipped + pl.col("fee")).sum()).item()) / initial_cash
    gross = total_return + costs
    frame = pl.DataFrame(
        {
            "multiple": [float(m) for m in multiples],
            "total_return": [gross - m * costs for m in multiples],
        },
        schema={"multiple": pl.Float64(), "total_return": pl.Float64()},
    )
    return frame, gross / costs if costs > 0.0 and gross > 0.0 else math.nan


_FIGURES: dict[str, pl.DataType] = {
    "total_return": pl.Float64(),
    "sharpe": pl.Float64(),
    "max_drawdown": pl.Float64(),
    "fills": pl.Int64(),
}


def _figures(outcome: Outcome) -> dict[str, float | int | None]:
    return {
        "total_return": outcome.net_return,
        "sharpe": outcome.sharpe,
        "max_drawdown": outcome.max_drawdown,
        "fills": outcome.fills,
    }


def _values(setup: Setup, parameter: str, factors: Sequence[float]) -> list[float]:
    centre = getattr(setup.risk, parameter)
    if not centre:
        return []
    values = np.array(factors) * centre
    if isinstance(centre, int):
        values = np.unique(np.maximum(np.rint(values), 1.0))
    return [float(value) for value in values]


def _moved(setup: Setup, values: Mapping[str, float]) -> Setup | None:
    """Return the setup with other values of risk keys; None if the configuration refuses one."""
    try:
        risk = type(setup.risk).model_validate({**setup.risk.model_dump(), **values})
    except ValidationError:
        return None
    return setup._replace(risk=risk)
