from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pipelines.comparison_list import newest_look, sequences
from pipelines.tables import COMPARISONS

START = datetime(2024, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def look(
    day: int, challenger: str = "2", measure: str = "net_return", **found: Any
) -> dict[str, Any]:
    said = {
        "champion": "1",
        "challenger": challenger,
        "known_at": START + day * DAY,
        "measure": measure,
        "since": START,
        "verdict": "undecided",
        "reason": "",
        "bars": 24 * day,
        "blocks": day,
        "level": 0.025,
    }
    return {**dict.fromkeys(COMPARISONS.schema), **said, **found}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COMPARISONS.schema)


def test_a_sequence_is_its_looks_on_a_scale_that_shows_no_difference() -> None:
    looks = frame(
        look(1),
        look(2, lower=-3.0, mean_difference=0.0, upper=1.0),
        look(4, lower=-1.0, mean_difference=0.5, upper=1.0),
    )
    (chart,) = sequences(looks, START, START + 4 * DAY, 100, 40)
    # From -3 at the bottom to 1 at the top of 40; the first look had no bounds.
    assert chart.band == "50.0,40.0 100.0,20.0 100.0,0.0 50.0,0.0"
    assert chart.middle == "50.0,10.0 100.0,5.0"
    assert chart.zero == 10.0
    assert chart.row["known_at"] == START + 4 * DAY


def test_a_pair_without_bounds_has_no_band() -> None:
    (chart,) = sequences(frame(look(1)), START, START + 4 * DAY, 100, 40)
    assert (chart.band, chart.middle) == ("", "")


def test_the_newest_look_has_returns_first_and_leaves_out_who_is_gone() -> None:
    looks = frame(
        look(1, "9"), look(2, "3"), look(2, "2"), look(2, "2", "log_loss"), look(2, "3", "log_loss")
    )
    told = newest_look(looks).select("measure", "challenger").rows()
    assert told == [
        ("net_return", "2"), ("net_return", "3"), ("log_loss", "2"), ("log_loss", "3"),
    ]  # fmt: skip
    assert newest_look(frame()).is_empty()
    assert sequences(frame(), START, START + DAY, 100, 40) == []
