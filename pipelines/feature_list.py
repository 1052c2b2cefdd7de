"""Every registered feature, what the lake holds of it, and how much the models made of it.

Nothing heavy is imported: statistics are rows of `quality`, importances are JSON files that the training
runs logged, read where they lie.
"""

import inspect
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from features.registry import registered
from pipelines import clock
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.quality.column_profile import latest_statistics
from pipelines.tables import FEATURES

_IMPORTANCE, _PLAN = "fit/importance.json", "plan.json"


def list_features(context: Context, families: Sequence[str] = ()) -> list[dict[str, Any]]:
    """List the registered features, or those of `families`.

    Returns
    -------
    list of dict
        name, family, unit, lookback [bars], scope, doc; null_share and first_valid as last written
        down by `check_features` (None before that); importance, oldest first, of every training that
        logged one: run, as_of, share of the final fit's total gain (None without one).

    Raises
    ------
    ConfigError
        If a family does not exist, or a file in `features/` cannot be read as one.
    """
    try:
        chosen = registered(families)
    except ValueError as error:
        raise ConfigError(
            str(error), remedy="see `hourglass features`, or mend the file"
        ) from error
    settings = context.settings
    held = latest_statistics(context.lake, FEATURES.name, venue=settings.venue, end=clock.now())
    history = _importances(settings.artifact_uri)
    listed = []
    for one in chosen:
        known = held.get(one.name, {})
        shares = [
            {"run": run, "as_of": as_of, "share": importance[one.name]}
            for run, as_of, importance in history
            if one.name in importance
        ]
        listed.append(
            {
                "name": one.name,
                "family": one.family,
                "unit": one.unit,
                "lookback": one.lookback,
                "scope": one.scope,
                "doc": one.doc,
                "null_share": known.get("null_share"),
                "first_valid": known.get("first_valid"),
                "importance": shares or None,
            }
        )
    return listed


def features_page() -> str:
    """Return the registered features as a Markdown page: each family's own words, then its columns."""
    chosen = registered()
    families = sorted({one.family for one in chosen})
    lines = [
        "# Features",
        "",
        f"{len(chosen)} columns in {len(families)} families, written from the code by `make docs`. Lookback: bars, the "
        "newest included, from which the value is exact.",
    ]
    for family in families:
        words = inspect.getdoc(import_module(f"features.{family}")) or ""
        lines += [
            "",
            f"## {family}",
            "",
            words,
            "",
            "| column | lookback | unit | what |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{one.name}` | {one.lookback} | {one.unit} | {one.doc.removesuffix(f' [{one.unit}]')} |"
            for one in chosen
            if one.family == family
        ]
    return "\n".join(lines) + "\n"


def _importances(artifact_uri: str) -> list[tuple[str, str, dict[str, float]]]:
    """Return (run, `as_of`, importance) of the trainings whose files lie in a local folder, in order."""
    if "://" in artifact_uri:
        return []
    found = []
    for path in Path(artifact_uri).glob(f"*/artifacts/{_IMPORTANCE}"):
        artifacts = path.parent.parent
        plan = artifacts / _PLAN
        if plan.exists():
            as_of = json.loads(plan.read_text(encoding="utf-8"))["as_of"]
            importance = json.loads(path.read_text(encoding="utf-8"))
            found.append((artifacts.parent.name, as_of, importance))
    return sorted(found, key=lambda run: (run[1], run[0]))
