"""The members of an ensemble: predictors in subfolders of the ensemble's own folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors import Predictor, load_predictor

ENSEMBLE_FILE = "ensemble.json"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """A predictor and its kind, a key of `PREDICTORS`."""

    kind: str
    predictor: Predictor


def member_folder(folder: Path, place: int) -> Path:
    """Return where member number `place` of the ensemble in `folder` is kept."""
    return folder / f"member_{place}"


def longest_context(members: Sequence[Member]) -> int:
    """Return the bars that the furthest-looking member looks at."""
    return max(member.predictor.context_bars for member in members)


def member_proba(members: Sequence[Member], observations: Observations) -> Floats:
    """Return what each member says of the asked rows, shape (members, n, 3)."""
    return np.stack([member.predictor.predict_proba(observations) for member in members])


def save_members(folder: Path, members: Sequence[Member], rule: dict[str, Any]) -> None:
    """Write the members' files into `member_0`, `member_1` ... and `rule` into `ensemble.json`."""
    for place, member in enumerate(members):
        path = member_folder(folder, place)
        path.mkdir(exist_ok=True)
        member.predictor.save(path)
    tree = {**rule, "members": [member.kind for member in members]}
    text = json.dumps(tree, indent=1, sort_keys=True) + "\n"
    (folder / ENSEMBLE_FILE).write_text(text, encoding="utf-8")


def load_members(folder: Path, *keys: str) -> tuple[list[Member], list[Any]]:
    """Read what `save_members` wrote: the members, and the rule's values of `keys`.

    Raises
    ------
    ValueError
        If `ensemble.json` or a member is missing or damaged.
    """
    path = folder / ENSEMBLE_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        kinds, values = tree["members"], [tree[key] for key in keys]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe an ensemble: {error!r}") from None
    members = [
        Member(kind, load_predictor(kind, member_folder(folder, place)))
        for place, kind in enumerate(kinds)
    ]
    return members, values
