"""What trading cost, against the price before costs and against the price at which it was decided."""

import polars as pl

_BPS = 1e4
FUNDING = "funding"
_PARTS = {
    "spread": "spread_bps",
    "impact": "impact_bps",
    "fee": "fee_bps",
    "shortfall": "slippage_bps",
}


def cost_totals(fills: pl.DataFrame, initial_cash: float) -> pl.DataFrame:
    """Return fees, spread, impact, funding and their sum.

    Parameters
    ----------
    fills : polars.DataFrame
        As in `evaluation.backtest.BacktestResult`; the notional of a funding payment is what was paid,
        negative where funding was received.
    initial_cash : float

    Returns
    -------
    polars.DataFrame
        part, amount [quote], of_capital [fraction of the initial cash], bps [of the notional traded;
        null where nothing was].
    """
    traded = fills.filter(pl.col("side") != FUNDING)
    before_costs = pl.col("quantity") * pl.col("reference_price") / _BPS
    sums = traded.select(
        pl.col("notional").sum(),
        fees=pl.col("fee").sum(),
        spread=(pl.col("spread_bps") * before_costs).sum(),
        impact=(pl.col("impact_bps") * before_costs).sum(),
    ).row(0, named=True)
    notional = float(sums.pop("notional"))
    paid = fills.filter(pl.col("side") == FUNDING).get_column("notional").sum()
    parts = {**sums, "funding": float(paid)}
    parts["all costs"] = sum(parts.values())
    return pl.DataFrame(
        [
            (part, amount, amount / initial_cash, amount / notional * _BPS if notional else None)
            for part, amount in parts.items()
        ],
        schema={
            "part": pl.String,
            "amount": pl.Float64,
            "of_capital": pl.Float64,
            "bps": pl.Float64,
        },
        orient="row",
    )


def costs_by(fills: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return mean and median cost of a fill by `key` ("kind" or "symbol"), the largest notional first.

    Parameters
    ----------
    fills : polars.DataFrame
        As in `evaluation.backtest.BacktestResult`; its slippage_bps is the implementation shortfall: what
        the price lost between the decision and the fill, spread and impact included, fees not.
    key : {"kind", "symbol"}

    Returns
    -------
    polars.DataFrame
        key, fills, notional [quote], and for spread, impact, fee and shortfall `<part>_mean` and
        `<part>_median` [bps], one fill one vote; positive is a loss, null where no fill has a value.

    References
    ----------
    Perold (1988), The implementation shortfall: paper versus reality.
    """
    return (
        fills.filter(pl.col("side") != FUNDING)
        .with_columns(pl.col(*_PARTS.values()).fill_nan(None))
        .group_by(key)
        .agg(
            pl.len().cast(pl.Int64).alias("fills"),
            pl.col("notional").sum(),
            *(pl.col(column).mean().alias(f"{part}_mean") for part, column in _PARTS.items()),
            *(pl.col(column).median().alias(f"{part}_median") for part, column in _PARTS.items()),
        )
        .sort("notional", key, descending=[True, False])
    )
