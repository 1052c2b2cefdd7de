"""Scripted faults: what goes wrong, where, from when and for how long.

A script is a JSON list of objects, in a file (``--faults FILE``), in ``running_simulator(faults=...)``
or sent to ``POST /_simulator/faults`` while the simulator runs. Every object has

``kind``
    One of those below.
``path``, ``symbol``
    Which requests it meets: the URL's path, with ``*`` (``"/api/v3/*"``), and the venue's id or the
    unified symbol; all when left out.
``from``, ``until``
    Which bars it meets, by open instant, both included; all when left out. Row faults only.
``at``
    Simulated instant from which it is active; always when left out.
``after``, ``count``
    How many matching requests pass unharmed first (0), and how many are then met (null: forever).
    A request for bars counts only if it holds a bar the fault would alter.

Faults of the answer::

    {"kind": "rate_limited", "retry_after": 2, "count": 3}   429 with Retry-After [s]
    {"kind": "banned", "retry_after": 120, "count": 1}       418 with Retry-After [s]
    {"kind": "server_error", "status": 503, "count": 2}      5xx
    {"kind": "slow", "seconds": 30, "count": 1}              the answer comes that late
    {"kind": "truncated", "count": 1}                        JSON cut in the middle
    {"kind": "html", "status": 200, "count": 1}              a proxy's page instead of JSON

Faults of the bars in an answer::

    {"kind": "unfinished", "stamp": "closed"}   pages that reach the newest closed bar end with the
                                                candle in progress, asked for or not, under the open
                                                time of the bar before it, as if it had closed;
                                                "ahead" stamps it a bar into the future
    {"kind": "gap", "from": T0, "until": T1}    the bars are missing
    {"kind": "duplicate", "from": T0}           the bars come twice
    {"kind": "out_of_order"}                    the page comes backwards
    {"kind": "restated", "factor": 1.01, "after": 5, "from": T0, "until": T1}
                                                close (and the high or low it crosses) times factor
    {"kind": "corrupt", "value": "nan"}         close is NaN; "negative": close is -close;
                                                "crossed": high and low change places

Funding is met as bars are: by the instant of its payment instead of the open, its rate in place of
the close; `crossed` leaves it as it is.

A fault of the universe::

    {"kind": "delisted", "symbol": "LTCUSDT", "at": T, "gone": false}
        bars end at T and the status becomes BREAK; with "gone" the symbol is unknown from T on
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.clock import parse_instant
from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import CLOSE, HIGH, LOW, Bars
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.instruments import Instrument

_OPTIONS: dict[str, dict[str, Any]] = {
    "rate_limited": {"retry_after": 1},
    "banned": {"retry_after": 120},
    "server_error": {"status": 503},
    "slow": {"seconds": 30.0},
    "truncated": {},
    "html": {"status": 200},
    "unfinished": {"stamp": ("closed", "ahead")},
    "gap": {},
    "duplicate": {},
    "out_of_order": {},
    "restated": {"factor": 1.01},
    "corrupt": {"value": ("nan", "negative", "crossed")},
    "delisted": {"gone": False},
}
ANSWER_KINDS = ("rate_limited", "banned", "server_error", "slow", "truncated", "html")
_COMMON = ("kind", "path", "symbol", "from", "until", "at", "after", "count")
_NEVER, _FOREVER = -(2**62), 2**62


@dataclass
class Fault:
    """One scripted fault and how often it may still strike."""

    kind: str
    path: str = "*"
    symbol: str | None = None
    first: int = _NEVER
    last: int = _FOREVER
    at: int = _NEVER
    after: int = 0
    count: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, path: str, symbols: tuple[str, ...], now: int) -> bool:
        """Say whether a request is one of those it is about."""
        about = self.symbol is None or self.symbol in symbols
        return now >= self.at and about and fnmatchcase(path, self.path)

    def strike(self) -> bool:
        """Count one request that it meets and say whether that one is harmed."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.count is None:
            return True
        self.count -= 1
        return self.count >= 0


def parse_faults(script: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """Return the faults of a script.

    Raises
    ------
    ConfigError
        Naming the fault, the key and what is allowed.
    """
    if isinstance(script, Mapping | str):
        raise ConfigError("a fault script is a list of objects", remedy='write [{"kind": "gap"}]')
    return [_parse(entry) for entry in script]


def read_faults(path: Path) -> list[Fault]:
    """Return the faults of a JSON file; ConfigError if it cannot be read."""
    try:
        return parse_faults(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(
            f"fault script {path} cannot be read: {error}", remedy="give a JSON list of faults"
        ) from None


def _parse(entry: Mapping[str, Any]) -> Fault:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if kind not in _OPTIONS:
        raise ConfigError(f"fault {entry!r} has no known kind", remedy=f"use {', '.join(_OPTIONS)}")
    options = _OPTIONS[kind]
    unknown = sorted(set(entry) - set(_COMMON) - set(options))
    if unknown:
        raise ConfigError(
            f"fault {kind}: unknown key {unknown[0]!r}",
            remedy=f"use {', '.join((*_COMMON, *options))}",
        )
    chosen = {key: _option(kind, key, entry.get(key), options[key]) for key in options}
    count = entry.get("count")
    if kind == "delisted" and not (entry.get("symbol") and entry.get("at")):
        raise ConfigError(
            "fault delisted needs a symbol and an instant", remedy="add symbol and at"
        )
    return Fault(
        kind=kind,
        path=str(entry.get("path", "*")),
        symbol=entry.get("symbol"),
        first=_instant(entry, "from", _NEVER),
        last=_instant(entry, "until", _FOREVER),
        at=_instant(entry, "at", _NEVER),
        after=int(entry.get("after", 0)),
        count=None if count is None else int(count),
        options=chosen,
    )


def _option(kind: str, key: str, given: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if given not in (None, *default):
            raise ConfigError(
                f"fault {kind}: {key} {given!r} is not known", remedy=f"use {', '.join(default)}"
            )
        return given or default[0]
    return default if given is None else type(default)(given)


def _instant(entry: Mapping[str, Any], key: str, missing: int) -> int:
    text = entry.get(key)
    return missing if text is None else milliseconds(parse_instant(text))


class Faults:
    """The script that is being played."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, faults: Iterable[Fault]) -> None:
        """Append to the script."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """End every fault."""
        self._faults.clear()

    def of_answer(self, path: str, symbols: tuple[str, ...], now: int) -> Fault | None:
        """Return the fault of this answer, if one strikes."""
        for fault in self._faults:
            if fault.kind in ANSWER_KINDS and fault.meets(path, symbols, now) and fault.strike():
                return fault
        return None

    def on_bars(
        self,
        bars: Bars,
        path: str,
        instrument: Instrument,
        now: int,
        in_progress: Callable[[], Bars],
    ) -> Bars:
        """Return the bars as the faults that strike leave them.

        Parameters
        ----------
        bars : Bars
            What a healthy venue would answer.
        path : str
        instrument : Instrument
        now : int
            [ms since 1970]
        in_progress : callable
            Gives the unfinished bar at `now`, whether it was asked for or not.
        """
        for fault in self._faults:
            if not fault.meets(path, (instrument.id, instrument.symbol), now):
                continue
            if fault.kind == "unfinished":
                newest_closed = now - now % bars.timeframe - bars.timeframe
                if (bars.open_time >= newest_closed).any() and fault.strike():
                    bars = _unfinished(bars, in_progress(), fault)
            elif fault.kind in _ALTER:
                hit = (bars.open_time >= fault.first) & (bars.open_time <= fault.last)
                if hit.any() and fault.strike():
                    bars = _ALTER[fault.kind](bars, hit, fault)
        return bars

    def delisting(self, instrument: Instrument) -> Fault | None:
        """Return the delisting of `instrument`, if one is in the script."""
        names = (instrument.id, instrument.symbol)
        found = (f for f in self._faults if f.kind == "delisted" and f.symbol in names)
        return next(found, None)


Mask = npt.NDArray[np.bool_]


def _unfinished(bars: Bars, in_progress: Bars, fault: Fault) -> Bars:
    shift = -bars.timeframe if fault.options["stamp"] == "closed" else bars.timeframe
    stamped = Bars(in_progress.open_time + shift, in_progress.values, bars.timeframe)
    return bars.take(~np.isin(bars.open_time, in_progress.open_time)).followed_by(stamped)


def _gap(bars: Bars, hit: Mask, _fault: Fault) -> Bars:
    return bars.take(~hit)


def _duplicate(bars: Bars, hit: Mask, _fault: Fault) -> Bars:
    return bars.take(np.repeat(np.arange(len(bars)), np.where(hit, 2, 1)))


def _out_of_order(bars: Bars, _hit: Mask, _fault: Fault) -> Bars:
    return bars.take(slice(None, None, -1))


def _restated(bars: Bars, hit: Mask, fault: Fault) -> Bars:
    values = bars.values.copy()
    values[CLOSE, hit] *= fault.options["factor"]
    values[HIGH] = np.maximum(values[HIGH], values[CLOSE])
    values[LOW] = np.minimum(values[LOW], values[CLOSE])
    return Bars(bars.open_time, values, bars.timeframe)


def _corrupt(bars: Bars, hit: Mask, fault: Fault) -> Bars:
    values = bars.values.copy()
    if fault.options["value"] == "crossed":
        values[HIGH, hit], values[LOW, hit] = bars.values[LOW, hit] * 0.999, bars.values[HIGH, hit]
    else:
        values[CLOSE, hit] = np.nan if fault.options["value"] == "nan" else -values[CLOSE, hit]
    return Bars(bars.open_time, values, bars.timeframe)


_ALTER: dict[str, Callable[[Bars, Mask, Fault], Bars]] = {
    "gap": _gap,
    "duplicate": _duplicate,
    "out_of_order": _out_of_order,
    "restated": _restated,
    "corrupt": _corrupt,
}
