import math

import numpy as np
import polars as pl
import pytest

from evaluation.forecast import forecast_metrics
from evaluation.reliability import by_regime

BASE = (0.3, 0.4, 0.3)


def test_a_regime_has_the_metrics_of_its_rows_and_an_interval_of_its_skill(honest) -> None:
    regime = (np.arange(honest.height) // 1000) % 3 - 1
    table = by_regime(honest, regime, BASE, names=["calm", "wild"])
    assert table["regime"].to_list() == ["calm", "wild"]
    assert table["share"].to_list() == [0.5, 0.5]
    alone = forecast_metrics(honest.filter(pl.Series(regime == 1)), BASE)
    row = table.row(1, named=True)
    assert {name: row[name] for name in alone} == pytest.approx(alone)
    assert row["skill"] == pytest.approx(alone["base_rate_log_loss"] - alone["log_loss"])
    assert 0.0 < row["skill_lower"] < row["skill"] < row["skill_upper"]


def test_a_regime_of_a_few_instants_has_no_interval(honest) -> None:
    regime = np.where(np.arange(honest.height) < 8, 1, 0)
    row = by_regime(honest, regime, BASE).row(1, named=True)
    assert (row["regime"], row["rows"]) == ("1", 8.0)
    assert math.isnan(row["skill_lower"])


def test_regimes_that_do_not_fit_the_rows_are_refused(honest, unknown) -> None:
    zeros = np.zeros(honest.height, dtype=np.int64)
    with pytest.raises(ValueError, match=r"\(3,\) regimes for 6000 scored rows"):
        by_regime(honest, zeros[:3], BASE)
    with pytest.raises(ValueError, match="regime 2 has no name; 2 names"):
        by_regime(honest, zeros + 2, BASE, names=["a", "b"])
    for scored, regime in ((unknown, zeros), (honest, zeros - 1)):
        with pytest.raises(ValueError, match="no outcome of rows with a known regime"):
            by_regime(scored, regime, BASE)
