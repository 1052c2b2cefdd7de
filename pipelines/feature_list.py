"""Every registered feature, what the lake holds of it, and how much the models made of it.

Statistics are rows of `quality`, importances rows of `importance`.
"""

import inspect
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from features.registry import registered
from pipelines import clock
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.quality.column_profile import latest_statistics
from pipelines.tables import FEATURES

if TYPE_CHECKING:
    from pipelines.lake import Lake

LAST = 10
"""Trainings that a feature's history is told of."""
LARGEST = 25
"""A feature counts as one of the largest up to this rank."""


def list_features(context: Context, families: Sequence[str] = ()) -> list[dict[str, Any]]:
    """List the registered features, or those of `families`.

    Returns
    -------
    list of dict
        name, family, unit, lookback [bars], scope, doc; null_share and first_valid as last written
        down by `check_features` (None before that); importance, oldest first, in the final fits of the
        last ten trainings: training_id, as_of, share of the total gain, rank by it, permutation,
        cluster_permutation and shap (None where not measured); mean_share, mean_rank and stability,
        the share of these trainings in which it was among the 25 largest (None without one).

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
    history = _history(context.lake, clock.now())
    listed = []
    for one in chosen:
        known = held.get(one.name, {})
        trainings = history.get(one.name, [])
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
                "importance": trainings or None,
                **_summary(trainings),
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


def _history(lake: "Lake", end: datetime) -> dict[str, list[dict[str, Any]]]:
    """Return feature -> what the newest trainings made of it, oldest first."""
    from pipelines.tracking.importance import challengers_importance

    history: dict[str, list[dict[str, Any]]] = {}
    for row in challengers_importance(lake, end=end, last=LAST).iter_rows(named=True):
        told = {
            "training_id": row["training_id"],
            "as_of": format_instant(row["known_at"]),
            "share": row["gain"],
            "rank": row["rank"],
        }
        measured = {kind: row[kind] for kind in ("permutation", "cluster_permutation", "shap")}
        history.setdefault(row["feature"], []).append(told | measured)
    return history


def _summary(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean share and rank of a feature, and how often it was among the largest."""
    if not history:
        return {"mean_share": None, "mean_rank": None, "stability": None}
    count = len(history)
    return {
        "mean_share": sum(one["share"] for one in history) / count,
        "mean_rank": sum(one["rank"] for one in history) / count,
        "stability": sum(one["rank"] <= LARGEST for one in history) / count,
    }
