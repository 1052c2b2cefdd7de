"""What people decide about books: pause, resume, liquidate. Each decision is an event with a reason.

A control holds from the next hour its book will trade until another one takes its place: hours that
were traded are never touched. `recorded_at` of the event says when it was really given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from serving.controls import Controls

CONTROL = "control"
# By the engine's numbers of the modes (`serving.controls`).
RUNNING, PAUSED, LIQUIDATING = MODES = ("run", "pause", "liquidate")
# What a person asks for, and the mode it leads to.
ACTIONS = {"pause": PAUSED, "resume": RUNNING, "liquidate": LIQUIDATING}


@dataclass(frozen=True)
class Control:
    """From the bar known at `effective_from` on, a book trades in `mode`.

    `resumed` lifts a halt of the engine's own at that bar. Of several controls for one bar the mode
    of the last holds, and a halt is lifted if any of them lifts it.
    """

    effective_from: datetime
    mode: str
    resumed: bool
    reason: str
    decided_by: str

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Control":
        """Return a control whose instant stands as ISO text."""
        return cls(
            effective_from=datetime.fromisoformat(stored["effective_from"]),
            mode=stored["mode"],
            resumed=stored["resumed"],
            reason=stored["reason"],
            decided_by=stored["decided_by"],
        )


def mode_at(history: Sequence[Control], hour: datetime | None = None) -> str:
    """Return the mode of the bar known at `hour`; without one, the newest."""
    past = [c for c in history if hour is None or c.effective_from <= hour]
    return past[-1].mode if past else RUNNING


def resumed_at(history: Sequence[Control], hour: datetime) -> bool:
    """Say whether a person lifted the book's halt at the bar known at `hour`."""
    return any(c.resumed for c in history if c.effective_from == hour)


def controls_of(
    history: Sequence[Control], hours: Sequence[datetime], promoted: Sequence[datetime] = ()
) -> Controls:
    """Return what the engine is told of a book in the bars known at `hours`.

    `promoted` are the instants from which its model became champion in another one's place.
    """
    return Controls(
        mode=np.array([MODES.index(mode_at(history, hour)) for hour in hours], np.int64),
        resumed=np.array([resumed_at(history, hour) for hour in hours], np.bool_),
        restaged=np.array([hour in promoted for hour in hours], np.bool_),
    )


def is_halted(state: Mapping[str, Any] | None) -> bool:
    """Say whether the engine itself has halted the book of this stored state (drawdown stop)."""
    return bool(state and state.get("conduct", {}).get("halted"))


def decide(
    action: str, history: Sequence[Control], next_hour: datetime, *, halted: bool
) -> Mapping[str, Any] | None:
    """Return the detail of the event that `action` asks for; None where it would change nothing.

    Only a halted book is resumed in the engine's sense: to pause and resume one that is not does not
    make it forget its peak.
    """
    mode = ACTIONS[action]
    lifts = mode == RUNNING and halted and not resumed_at(history, next_hour)
    if mode_at(history) == mode and not lifts:
        return None
    return {"mode": mode, "resumed": lifts}
