"""The null-market report: one page for a person, and the same as JSON for a machine."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader

from pipelines.prove.null_books import SYMBOLS
from pipelines.prove.null_lives import Life
from pipelines.prove.null_market import NullMarket, Power, difference_of

_PAGE, _JSON = "null_market.html", "null_market.json"
_WIDTH, _HEIGHT = 480, 200


def write_null_market(proof: NullMarket, folder: Path) -> Path:
    """Write `null_market.html` and `null_market.json` into `folder` and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    told = told_of(proof)
    (folder / _JSON).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = folder / _PAGE
    template = environment.get_template("null_market.html.jinja")
    page.write_text(
        template.render(told=told, curve=_curve(proof), width=_WIDTH, height=_HEIGHT),
        encoding="utf-8",
    )
    return page


def told_of(proof: NullMarket) -> dict[str, Any]:
    """Return all that was found as plain JSON types."""
    config = proof.config
    lead, error = difference_of(proof.lives)
    return {
        "passed": proof.passed,
        "summary": proof.summary,
        "checks": [asdict(check) for check in proof.checks],
        "setting": {
            "seed": proof.seed,
            "symbols": list(SYMBOLS),
            "days": config.days,
            "days_between_challengers": config.every_days,
            "train_days": config.train_days,
            "max_challengers": config.max_challengers,
            "gates": list(config.promotion.required),
            "comparison": config.comparison.model_dump(mode="json"),
        },
        "null": {
            "lead": lead,
            "lead_error": None if math.isnan(error) else error,
            "fills_a_day": fmean(life.fills_a_day for life in proof.lives),
        },
        "seconds": {
            "wall": proof.seconds,
            "processor": sum(life.seconds for life in (*proof.lives, *proof.powered)),
            "processor_a_life": fmean(life.seconds for life in proof.lives),
        },
        "lives": [_told_life(life) for life in (*proof.lives, *proof.powered)],
        "agreements": [asdict(found) for found in proof.agreements],
    }


def _told_life(life: Life) -> dict[str, Any]:
    told = asdict(life)
    course = told.pop("course")
    for one in course["promotions"]:
        one["evidence"] = None if math.isnan(one["evidence"]) else one["evidence"]
    return {**told, **course}


def _curve(proof: NullMarket) -> list[dict[str, float]]:
    """Return the points of the power curve in the units of the drawing, the null lives first."""
    null = Power(0.0, len(proof.lives), proof.false_promotions, None)
    points = [power.as_json() for power in (null, *proof.power)]
    widest = max(point["signal"] for point in points) or 1.0
    return [
        {
            "x": _WIDTH * point["signal"] / widest,
            "signal": point["signal"],
            **{name: _HEIGHT * (1.0 - point[name]) for name in ("power", "lower", "upper")},
        }
        for point in points
    ]
