"""Tax lots: first in, first out, exact.

Pure functions over exact decimals with eight places. A lot is what one fill added to a position, long
or short. What later fills take off it is disposed of oldest first; the fee of an acquisition is part
of its cost, the fee of a disposal lessens its proceeds. Of a short the opening sale gives the
proceeds and the purchase that closes it is the cost. Shares of a fill or a lot are rounded to 1e-8
half to even, and what is left always takes the rest: nothing is lost or counted twice.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

_PLACES = Decimal("1E-8")


class LotFill(NamedTuple):
    """One fill of one symbol: signed base quantity (positive is bought), money without signs."""

    fill_id: str
    known_at: datetime
    quantity: Decimal
    notional: Decimal
    fee: Decimal


@dataclass(frozen=True)
class Lot:
    """What is left of one acquisition.

    Attributes
    ----------
    fill_id : str
        The fill that opened it; also the lot's name.
    acquired_at : datetime
    quantity : Decimal
        Base, signed: negative is short.
    amount : Decimal
        Quote: of a long lot what it cost with the fee, of a short one what it brought after it.
    """

    fill_id: str
    acquired_at: datetime
    quantity: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Gain:
    """One lot, or a part of it, disposed of by one fill.

    `quantity` is positive, `side` tells long from short; `proceeds - cost` is the gain, both after
    fees. A short's `acquired_at` is when it was sold, its `disposed_at` when it was bought back.
    """

    acquired_at: datetime
    disposed_at: datetime
    side: str
    quantity: Decimal
    proceeds: Decimal
    cost: Decimal
    lot_id: str
    disposal_id: str

    @property
    def gain(self) -> Decimal:
        """Proceeds less cost; negative is a loss."""
        return self.proceeds - self.cost

    @property
    def holding_days(self) -> int:
        """Whole days between acquisition and disposal."""
        return (self.disposed_at - self.acquired_at).days


def realise(fills: Iterable[LotFill]) -> tuple[list[Gain], list[Lot]]:
    """Match the fills of one symbol first in, first out.

    Parameters
    ----------
    fills : iterable of LotFill
        In the order in which they happened. One that goes through zero closes first and opens the
        other side with the rest.

    Returns
    -------
    list of Gain, list of Lot
        What was disposed of, in order, and what is still held, oldest first.
    """
    lots: deque[Lot] = deque()
    gains: list[Gain] = []
    for fill in fills:
        left = fill
        while left.quantity and lots and lots[0].quantity * left.quantity < 0:
            lot = lots.popleft()
            matched = min(abs(lot.quantity), abs(left.quantity))
            taken, kept = _split_lot(lot, matched)
            if kept is not None:
                lots.appendleft(kept)
            used, left = _split_fill(left, matched)
            gains.append(_gain(taken, used))
        if left.quantity:
            sign = 1 if left.quantity > 0 else -1
            amount = left.notional + sign * left.fee
            lots.append(Lot(left.fill_id, left.known_at, left.quantity, amount))
    return gains, list(lots)


def _gain(lot: Lot, fill: LotFill) -> Gain:
    long = lot.quantity > 0
    closing = fill.notional - fill.fee if long else fill.notional + fill.fee
    return Gain(
        acquired_at=lot.acquired_at,
        disposed_at=fill.known_at,
        side="long" if long else "short",
        quantity=abs(lot.quantity),
        proceeds=closing if long else lot.amount,
        cost=lot.amount if long else closing,
        lot_id=lot.fill_id,
        disposal_id=fill.fill_id,
    )


def _split_lot(lot: Lot, matched: Decimal) -> tuple[Lot, Lot | None]:
    """Return the part of `matched` units, and the rest if there is any."""
    whole = abs(lot.quantity)
    if matched == whole:
        return lot, None
    taken = matched if lot.quantity > 0 else -matched
    amount = _share(lot.amount, matched, whole)
    rest = replace(lot, quantity=lot.quantity - taken, amount=lot.amount - amount)
    return replace(lot, quantity=taken, amount=amount), rest


def _split_fill(fill: LotFill, matched: Decimal) -> tuple[LotFill, LotFill]:
    """Return the part of `matched` units, and the rest, which may be nothing."""
    whole = abs(fill.quantity)
    taken = matched if fill.quantity > 0 else -matched
    notional = _share(fill.notional, matched, whole)
    fee = _share(fill.fee, matched, whole)
    used = fill._replace(quantity=taken, notional=notional, fee=fee)
    rest = fill._replace(
        quantity=fill.quantity - taken, notional=fill.notional - notional, fee=fill.fee - fee
    )
    return used, rest


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return amount if part == whole else (amount * part / whole).quantize(_PLACES)
