"""What the page of outcomes draws, number by number."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.outcome_charts import (
    SHADES,
    draw_calibration,
    draw_cloud,
    draw_weeks,
    hexagonal_counts,
)

MONDAY = date(2024, 6, 3)


@given(seed=st.integers(0, 1_000), n=st.integers(1, 20), radius=st.sampled_from([3.0, 6.5]))
@settings(max_examples=15)
def test_every_point_goes_to_the_nearest_centre_of_the_honeycomb(seed, n, radius) -> None:
    x, y = np.random.default_rng(seed).uniform(0, 50, (2, n))
    centres, counts = hexagonal_counts(x, y, radius)
    assert counts.sum() == n
    wide, high = radius * np.sqrt(3), radius * 1.5
    honeycomb = [
        ((column + (row % 2) / 2) * wide, row * high)
        for row in range(-2, int(50 / high) + 3)
        for column in range(-2, int(50 / wide) + 3)
    ]
    nearest = {}
    for a, b in zip(x, y, strict=True):
        best = min(honeycomb, key=lambda c: (c[0] - a) ** 2 + (c[1] - b) ** 2)
        place = tuple(np.round(best, 3))
        nearest[place] = nearest.get(place, 0) + 1
    found = {tuple(np.round(c, 3)): int(k) for c, k in zip(centres, counts, strict=True)}
    assert found == nearest


def test_a_cloud_has_a_shade_for_how_many_and_leaves_a_few_outside() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.normal(0, 0.01, 5_000)
    realised = predicted + rng.normal(0, 0.02, 5_000)
    means = pl.DataFrame({"expected_return": [-0.01, 0.01, 9.0], "realised_return": [-0.01, 0.01, 0.0]})  # fmt: skip
    cloud = draw_cloud(predicted, realised, means, 400.0, 300.0)
    assert len(cloud.hexagons) == SHADES
    assert all(path.startswith("M") for path in cloud.hexagons)
    assert 0 < cloud.outside < 100
    assert len(cloud.means) == 2
    # On the line of identity what is expected is what comes: its ends have equal values.
    (x1, y1), (x2, y2) = (tuple(map(float, end.split(","))) for end in cloud.identity.split())
    frame = cloud.frame
    low, high = (frame.x.low + share * (frame.x.high - frame.x.low) for share in (x1 / 400, x2 / 400))  # fmt: skip
    assert frame.y.place(low) == pytest.approx(1 - y1 / 300, abs=1e-3)
    assert frame.y.place(high) == pytest.approx(1 - y2 / 300, abs=1e-3)


def test_one_pair_alone_can_be_drawn() -> None:
    cloud = draw_cloud(np.array([0.01]), np.array([0.02]), None, 400.0, 300.0)
    assert (cloud.outside, cloud.means) == (0, [])
    assert cloud.hexagons[0].count("M") == 1
    assert cloud.identity == "", "expected and realised returns have no value in common"


def test_a_week_without_a_figure_parts_the_line() -> None:
    weeks = [MONDAY, date(2024, 6, 10), date(2024, 6, 24), date(2024, 7, 1)]
    weekly = pl.DataFrame(
        {"model": ["1"] * 4 + ["2"], "week": [*weeks, MONDAY], "mae": [1.0, 2.0, 3.0, None, 1.0]}
    )
    chart = draw_weeks("error", weekly, "mae", "number", (500.0, 100.0), level=2.0)
    one, two = chart.lines
    assert (one.name, two.name) == ("1", "2")
    # Five weeks of a hundred each; 1 to 3 with a margin of 4 %.
    assert one.points == ["50.0,96.3", "150.0,50.0", "350.0,3.7"]
    assert one.parts == ["50.0,96.3 150.0,50.0"]
    assert two.parts == []
    assert chart.level == pytest.approx(50.0)
    assert [tick.label for tick in chart.frame.x_ticks] == [
        "03 Jun", "10 Jun", "17 Jun", "24 Jun", "01 Jul",
    ]  # fmt: skip


def test_a_calibration_curve_is_drawn_on_one_scale_for_both_axes() -> None:
    curve = pl.DataFrame({"predicted": [0.4, 0.6], "observed": [0.4, 0.8]})
    chart = draw_calibration({"1": curve}, (100.0, 100.0))
    # From 0.4 to 0.8 with a margin of 4 %.
    assert chart.lines[0].points == ["3.7,96.3", "50.0,3.7"]
    assert chart.frame.x == chart.frame.y
