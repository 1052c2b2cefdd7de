"""The leakage report: one page for a person, and the same as JSON for a machine."""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from features.proof import Violation
from features.warm_up import WarmUp
from pipelines.clock import format_instant
from pipelines.prove.leakage import Leakage

_PAGE, _JSON = "leakage.html", "leakage.json"


def write_leakage(leakage: Leakage, folder: Path) -> Path:
    """Write `leakage.html` and `leakage.json` into `folder` and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    told = _told(leakage)
    (folder / _JSON).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["share"] = _share
    environment.filters["number"] = _number
    page = folder / _PAGE
    template = environment.get_template("leakage.html.jinja")
    page.write_text(template.render(told=told), encoding="utf-8")
    return page


def _told(leakage: Leakage) -> dict[str, Any]:
    found = leakage.examination
    broken: dict[str, list[Violation]] = defaultdict(list)
    for violation in found.violations:
        broken[violation.feature].append(violation)
    warmth = {one.feature: one for one in found.warm_up}
    return {
        "passed": leakage.passed,
        "summary": leakage.summary,
        "bars": {
            "source": leakage.source,
            "symbols": list(leakage.symbols),
            "start": format_instant(leakage.start),
            "end": format_instant(leakage.end),
            "rows": leakage.rows,
        },
        "cuts": [{"instant": format_instant(cut.instant), "why": cut.why} for cut in found.cuts],
        "violations": [
            {"feature": one.feature, "law": one.law, "detail": one.detail}
            for one in found.violations
        ],
        "canaries": [
            {
                "name": leak.feature.name,
                "what": leak.feature.doc,
                "law": leak.law,
                "caught": leak.violation is not None,
                "detail": leak.violation.detail if leak.violation else "it passed every cut",
            }
            for leak in found.planted
        ],
        "features": [
            {
                "name": column.feature.name,
                "family": column.feature.family,
                "unit": column.feature.unit,
                "lookback": column.feature.lookback,
                "scope": column.feature.scope,
                "doc": column.feature.doc,
                "null_share": column.null_share,
                "least": column.least,
                "greatest": column.greatest,
                "first_valid": column.first_valid and format_instant(column.first_valid),
                "broken": sorted({violation.law for violation in broken[column.feature.name]}),
                "warm_up": _warm_up(warmth[column.feature.name]),
            }
            for column in found.columns
        ],
    }


def _warm_up(one: WarmUp) -> list[dict[str, float | None]]:
    return [
        {
            "share": share,
            "error": None if math.isnan(error) else error,
            "missing": None if math.isnan(one.missing[share]) else one.missing[share],
        }
        for share, error in one.error.items()
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
