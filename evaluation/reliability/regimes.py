"""What scores were worth in each state of the market."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import row_log_loss
from evaluation.forecast import forecast_metrics
from evaluation.intervals import skill_interval
from evaluation.reliability.scored import (
    instants_of,
    known_rows,
)


def by_regime(
    scored: pl.DataFrame,
    regime: npt.NDArray[np.integer[Any]],
    base_rates: Sequence[float],
    *,
    names: Sequence[str] | None = None,
    **how: Any,
) -> pl.DataFrame:
    """Return `forecast_metrics` of every regime, with an interval of the skill.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    regime : array of int, shape (rows of `scored`,)
        State known at each row; negative where it is not known (such rows are left out).
    base_rates : sequence of three floats
        Shares of the classes where the model was trained.
    names : sequence of str, optional
        Of the regimes 0, 1, ...; by default their numbers.
    **how
        As in `calibration_curve`.

    Returns
    -------
    polars.DataFrame
        `regime`, `share` of the rows, the metrics of `evaluation.forecast.forecast_metrics`, and
        `skill` = base-rate log loss less log loss [nats] with `skill_lower`, `skill_upper` (NaN for
        fewer than eight instants). Regimes without a known outcome are absent.

    Raises
    ------
    ValueError
        If there is not one regime a row, a regime has no name, or no outcome is known.
    """
    if regime.shape != (scored.height,):
        raise ValueError(
            f"{regime.shape} regimes for {scored.height} scored rows; one a row is needed"
        )
    highest = int(regime.max(initial=-1))
    if names is not None and highest >= len(names):
        raise ValueError(f"regime {highest} has no name; {len(names)} names were given")
    tagged = scored.with_columns(_regime=pl.Series(regime))
    known = tagged.filter(pl.col("outcome").is_not_null() & (pl.col("_regime") >= 0))
    rows = []
    for state in known["_regime"].unique().sort().to_list():
        part = known.filter(pl.col("_regime") == state)
        metrics = forecast_metrics(part, base_rates)
        lower, upper = _skill_bounds(part, base_rates, how)
        skill = metrics["base_rate_log_loss"] - metrics["log_loss"]
        rows.append(
            {
                "regime": str(state) if names is None else names[state],
                "share": part.height / known.height,
                **metrics,
                "skill": skill,
                "skill_lower": lower,
                "skill_upper": upper,
            }
        )
    if not rows:
        raise ValueError("no outcome of rows with a known regime is known; nothing can be measured")
    return pl.DataFrame(rows)


def _skill_bounds(
    part: pl.DataFrame, base_rates: Sequence[float], how: dict[str, Any]
) -> tuple[float, float]:
    if part["known_at"].n_unique() < 8:
        return float("nan"), float("nan")
    _, proba, outcome = known_rows(part)
    base = np.broadcast_to(np.asarray(base_rates, dtype=np.float64), proba.shape)
    found = skill_interval(
        instants_of(part), row_log_loss(proba, outcome), row_log_loss(base, outcome), **how
    )
    return found.lower, found.upper
