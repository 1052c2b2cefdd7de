"""The sheet as one page that needs nothing else: no script, font or picture from anywhere."""

import math
from typing import Any

from jinja2 import Environment, PackageLoader

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.charts import capacity_chart, curve_charts, distribution_chart, fan_chart
from pipelines.tearsheet.figures import BY_KEY, GROUPS, TILES
from pipelines.tearsheet.formats import say
from pipelines.tearsheet.tables import (
    breakdown_tables,
    capacity_table,
    cost_tables,
    extreme_trades,
    figures,
    monte_carlo_rows,
    months_table,
    sensitivity_tables,
    stress_table,
    waterfall_bars,
    waterfall_table,
)

_STRONGEST_MONTH = 0.20


def render_html(sheet: TearSheet) -> str:
    """Return the page; a function of the sheet alone."""
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"say": say, "heat": heat}
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template("tearsheet.html.jinja").render(
        sheet=sheet,
        tiles=[(BY_KEY[k], sheet.metrics[k], sheet.benchmark.get(k)) for k in TILES],
        groups={group: figures(sheet, group) for group in GROUPS},
        curves=curve_charts(sheet),
        distribution=distribution_chart(sheet),
        months=months_table(sheet),
        breakdowns=breakdown_tables(sheet),
        trades=extreme_trades(sheet),
        costs=cost_tables(sheet),
        waterfall=waterfall_table(sheet),
        bars=waterfall_bars(sheet),
        **_optional(sheet),
    )


def heat(value: float | None) -> str:
    """Return the style of a cell by its return: green above zero, red below, full at 20 %."""
    if value is None or not math.isfinite(value) or value == 0.0:
        return ""
    strength = min(abs(value) / _STRONGEST_MONTH, 1.0) ** 0.6
    colour = "good" if value > 0 else "bad"
    return f"background: color-mix(in srgb, var(--{colour}) {6 + 34 * strength:.0f}%, transparent)"


def _optional(sheet: TearSheet) -> dict[str, Any]:
    return {
        "fan": fan_chart(sheet),
        "fan_rows": monte_carlo_rows(sheet),
        "stress": stress_table(sheet),
        "sensitivity": sensitivity_tables(sheet),
        "capacity": capacity_table(sheet),
        "capacity_chart": capacity_chart(sheet),
    }
