"""The models that can be trained, and what a search may vary in each."""

from typing import Any

from training.models import MODELS, model_class


class RecordingTrial:
    """A trial that suggests the lowest value of every range and remembers the ranges."""

    def __init__(self) -> None:
        self.ranges: dict[str, dict[str, Any]] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return `low` and remember the range."""
        self.ranges[name] = {"type": "int", "low": low, "high": high, "step": step}
        return low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return `low` and remember the range."""
        self.ranges[name] = {"type": "float", "low": low, "high": high, "log": log}
        return low

    def report(self, value: float, step: int) -> None:
        """Take no notice of a value."""

    def should_prune(self) -> bool:
        """Never end."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep nothing."""


def list_models() -> list[dict[str, Any]]:
    """Return what there is to say of each registered model, ensembles with their default members.

    Returns
    -------
    list of dict
        `name`; `kind` (trees, linear, sequence or ensemble); `context_bars`; `search_space`: name of a
        parameter -> type (int or float), low, high, and step (int) or log (float).
    """
    return [_described(name) for name in MODELS]


def _described(name: str) -> dict[str, Any]:
    kind, trial = model_class(name), RecordingTrial()
    kind.space(trial)
    return {
        "name": name,
        "kind": kind.kind,
        "context_bars": kind({}, seed=0, threads=1).context_bars,
        "search_space": trial.ranges,
    }
