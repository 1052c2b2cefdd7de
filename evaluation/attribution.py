"""Where a book's profit and loss came from: every cent of it, by book, symbol, side and regime.

Amounts are exact decimals with eight places, so that parts sum to the whole without an error. A round
trip goes from flat to flat; the one that is still open counts at its mark. What a book's equity changed
by is the sum over its round trips of the money that came in less the money that went out, fees and
funding included: if a cent is left over, fills, funding or marks are missing, and nothing is attributed.
"""

from collections.abc import Sequence

import polars as pl

GROUPS = ("book", "symbol", "side", "regime")
"""What round trips can be attributed to; the book is the model, or the baseline."""
AMOUNT = pl.Decimal(38, 8)
PARTS = ("gross", "fees", "funding", "closed_pnl", "open_pnl", "pnl")
_PLACE = ["book", "symbol"]


def round_trips(
    fills: pl.DataFrame, funding: pl.DataFrame, holdings: pl.DataFrame, equity: pl.DataFrame
) -> pl.DataFrame:
    """Fold fills into round trips and prove that they are all of the books' profit and loss.

    Parameters
    ----------
    fills : polars.DataFrame
        `book`, `symbol`, `known_at`, `signal_at` (the close at which the order was decided),
        `quantity` (signed, positive was bought), `notional` and `fee` [quote, >= 0]; those of one
        book and symbol in the order in which they happened.
    funding : polars.DataFrame
        `book`, `symbol`, `known_at`, `paid` [quote]; negative was received. Paid at the close, by
        what is held after the bar's fills.
    holdings : polars.DataFrame
        `book`, `symbol`, `quantity` (signed), `value` [quote, signed] of what is held at the mark.
    equity : polars.DataFrame
        `book`, `initial` and `equity` at the mark [quote].

    Returns
    -------
    polars.DataFrame
        One row a round trip, by book, symbol and entry: `side` (long, short), `signal_at` and
        `entered_at` of its first fill, `exited_at` (null while it is open), `gross` before fees and
        funding and with the mark of an open one, `fees`, `funding` [quote, positive was paid] and
        `pnl` = gross - fees - funding.

    Raises
    ------
    ValueError
        If a fill goes through zero, funding was paid on nothing, a position is not what its fills
        say, or round trips do not sum to what the equity of a book changed by.
    """
    trips = _mark(_fund(_fold(fills), funding), holdings)
    whole = trips.with_columns(pnl=pl.col("gross") - pl.col("fees") - pl.col("funding"))
    _require_whole(whole, equity)
    columns = ("side", "signal_at", "entered_at", "exited_at", "gross", "fees", "funding", "pnl")
    return whole.select(*_PLACE, *columns).sort(*_PLACE, "entered_at")


def _fold(fills: pl.DataFrame) -> pl.DataFrame:
    held = fills.with_columns(held=pl.col("quantity").cum_sum().over(_PLACE))
    held = held.with_columns(before=pl.col("held") - pl.col("quantity"))
    through = held.filter(_sign("held") * _sign("before") < 0)
    if not through.is_empty():
        raise ValueError(
            f"{through['book'][0]}: a fill of {through['symbol'][0]} at {through['known_at'][0]} takes "
            f"the position from {through['before'][0]} to {through['held'][0]}; split it at zero"
        )
    numbered = held.with_columns(trip=(_sign("before") == 0).cum_sum().over(_PLACE))
    bought = pl.col("quantity") > 0
    flow = pl.when(bought).then(-pl.col("notional")).otherwise(pl.col("notional"))
    return numbered.group_by(*_PLACE, "trip", maintain_order=True).agg(
        side=pl.when(bought.first()).then(pl.lit("long")).otherwise(pl.lit("short")),
        signal_at=pl.col("signal_at").first(),
        entered_at=pl.col("known_at").first(),
        exited_at=pl.when(_sign("held").last() == 0).then(pl.col("known_at").last()),
        held=pl.col("held").last(),
        gross=flow.sum(),
        fees=pl.col("fee").sum(),
    )


def _sign(name: str) -> pl.Expr:
    return (pl.col(name) > 0).cast(pl.Int8) - (pl.col(name) < 0).cast(pl.Int8)


def _fund(trips: pl.DataFrame, funding: pl.DataFrame) -> pl.DataFrame:
    """Add what every round trip paid: a payment is of the newest one entered by then."""
    entered = trips.select(*_PLACE, "trip", "exited_at", known_at="entered_at")
    paid = funding.sort("known_at").join_asof(
        entered.sort("known_at", "trip"), on="known_at", by=_PLACE, check_sortedness=False
    )
    lost = paid.filter(
        pl.col("trip").is_null() | (pl.col("exited_at") <= pl.col("known_at")).fill_null(False)
    )
    if not lost.is_empty():
        raise ValueError(
            f"{lost['book'][0]}: funding of {lost['paid'][0]} on {lost['symbol'][0]} at "
            f"{lost['known_at'][0]} was paid while nothing was held"
        )
    sums = paid.group_by(*_PLACE, "trip").agg(funding=pl.col("paid").sum())
    joined = trips.join(sums, on=[*_PLACE, "trip"], how="left", maintain_order="left")
    return joined.with_columns(_or_nothing("funding"))


def _mark(trips: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """Add the value of what is held to the gross of the open round trips."""
    stated = holdings.select(*_PLACE, stated="quantity", value="value")
    open_trips = trips.filter(pl.col("exited_at").is_null()).select(*_PLACE, "trip", "held")
    both = open_trips.join(stated, on=_PLACE, how="full", coalesce=True)
    wrong = both.filter(pl.col("held").ne_missing(pl.col("stated")))
    if not wrong.is_empty():
        raise ValueError(
            f"{wrong['book'][0]}: the fills of {wrong['symbol'][0]} come to a position of "
            f"{wrong['held'][0]}, the book says {wrong['stated'][0]}"
        )
    marks = both.select(*_PLACE, "trip", "value")
    joined = trips.join(marks, on=[*_PLACE, "trip"], how="left", maintain_order="left")
    return joined.with_columns(gross=pl.col("gross") + _or_nothing("value"))


def _or_nothing(name: str) -> pl.Expr:
    return pl.coalesce(pl.col(name), pl.lit(0).cast(AMOUNT)).alias(name)


def _require_whole(trips: pl.DataFrame, equity: pl.DataFrame) -> None:
    sums = trips.group_by("book").agg(explained=pl.col("pnl").sum())
    both = equity.join(sums, on="book", how="full", coalesce=True)
    change = pl.col("equity") - pl.col("initial")
    left = both.with_columns(change=change, left=change - _or_nothing("explained"))
    wrong = left.filter((pl.col("left") != 0).fill_null(True))
    if not wrong.is_empty():
        raise ValueError(
            f"{wrong['book'][0]}: the equity changed by {wrong['change'][0]} and its round trips come to "
            f"{wrong['explained'][0]}; fills, funding or marks are missing"
        )


def attribute(trips: pl.DataFrame, by: Sequence[str] = ("book",)) -> pl.DataFrame:
    """Return the profit and loss of round trips by group; the groups sum to the whole, exactly.

    Parameters
    ----------
    trips : polars.DataFrame
        As `round_trips` returns them, with `regime` (the state of the market at the signal, null
        where it was not known) if that is asked for.
    by : sequence of str
        Any of `GROUPS`, in the order in which the rows come back; none makes one row of all.

    Returns
    -------
    polars.DataFrame
        The columns of `by`, sorted, nulls last; `round_trips` that are over, `open_positions`;
        `gross`, `fees`, `funding`, `closed_pnl` of the former, `open_pnl` of the latter, and `pnl` =
        gross - fees - funding = closed_pnl + open_pnl [quote, exact].

    Raises
    ------
    ValueError
        If a group is not known.
    """
    if unknown := [name for name in by if name not in GROUPS]:
        raise ValueError(
            f"profit cannot be attributed to {', '.join(unknown)}; known are {', '.join(GROUPS)}"
        )
    is_open = pl.col("exited_at").is_null()
    nothing = pl.lit(0).cast(AMOUNT)
    tagged = trips.with_columns(
        _everything=pl.lit(0),
        _open=is_open,
        closed_pnl=pl.when(is_open).then(nothing).otherwise(pl.col("pnl")),
        open_pnl=pl.when(is_open).then(pl.col("pnl")).otherwise(nothing),
    )
    keys = ["_everything", *by]
    return (
        tagged.group_by(keys)
        .agg(
            round_trips=(~pl.col("_open")).sum().cast(pl.Int64),
            open_positions=pl.col("_open").sum().cast(pl.Int64),
            **{name: pl.col(name).sum() for name in PARTS},
        )
        .sort(keys, nulls_last=True)
        .drop("_everything")
    )
