"""How a value of a sheet reads: one kind a column, the same on every medium.

A value that is "said" was put into words before, and stands flush right like the number it was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Kind = Literal[
    "text",
    "said",
    "percent",
    "share",
    "fraction",
    "ratio",
    "number",
    "money",
    "price",
    "bps",
    "count",
    "instant",
]
NOTHING = "–"


@dataclass(frozen=True)
class Format:
    """A kind of value: its text, and the number format of a spreadsheet cell."""

    text: Callable[[Any], str]
    excel: str


def _price(value: float) -> str:
    places = max(2, min(8, 5 - math.floor(math.log10(abs(value))))) if value else 2
    return f"{value:,.{places}f}"


def _instant(value: datetime) -> str:
    return value.strftime("%Y-%m-%d %H:%M")


FORMATS: dict[Kind, Format] = {
    "text": Format(str, "@"),
    "said": Format(str, "@"),
    "percent": Format(lambda v: f"{v:+,.2%}", "+0.00%;[Red]-0.00%;0.00%"),
    "share": Format(lambda v: f"{v:,.1%}", "0.0%"),
    "fraction": Format(lambda v: f"{v:,.2%}", "0.00%"),
    "ratio": Format(lambda v: f"{v:,.2f}", "#,##0.00"),
    "number": Format(lambda v: f"{v:,.4g}", "#,##0.0000"),
    "money": Format(lambda v: f"{v:,.2f}", "#,##0.00;[Red]-#,##0.00"),
    "price": Format(_price, "#,##0.00######"),
    "bps": Format(lambda v: f"{v:,.2f}", "#,##0.00"),
    "count": Format(lambda v: f"{v:,.0f}", "#,##0"),
    "instant": Format(_instant, "yyyy-mm-dd hh:mm"),
}


def say(value: Any, kind: Kind) -> str:
    """Return a value as a person reads it; an en dash where it is null or not finite."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    text = FORMATS[kind].text(value)
    if kind in {"text", "said", "instant"} or text[0] not in "+-":
        return text
    if not any(digit in text for digit in "123456789"):
        return text[1:]
    return text.replace("-", "−", 1)
