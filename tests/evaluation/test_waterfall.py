import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.waterfall import explain_silence

NAMES = (
    "bars", "scored", "asked for a change", "after cooldown", "after no_trade_band", "ordered", "filled",
    "exits fired",
)  # fmt: skip


def waterfall(*counts: int) -> pl.DataFrame:
    return pl.DataFrame({"stage": NAMES[: len(counts)], "count": counts})


@pytest.mark.parametrize(
    ("counts", "cause"),
    [
        ((0, 0, 0, 0, 0, 0, 0), "there was no bar in the span"),
        (
            (1200, 0, 0, 0, 0, 0, 0),
            "none of the 1,200 bar-symbols had a score and the features to size it",
        ),
        (
            (1200, 1100, 0, 0, 0, 0, 0),
            "none of the 1,100 scores asked for anything but what was held",
        ),
        (
            (1200, 1100, 90, 80, 75, 0, 0),
            "none of the 75 changes that passed every rule became an order",
        ),
        (
            (1200, 1100, 90, 80, 75, 75, 0, 9),
            "none of the 75 orders could be filled at the next bar",
        ),
    ],
)
def test_silence_is_told_by_the_stage_that_came_to_nothing(
    counts: tuple[int, ...], cause: str
) -> None:
    told = explain_silence(waterfall(*counts))
    assert told.startswith("Nothing was traded: ")
    assert cause in told


def test_the_rule_that_cut_the_last_change_is_named_and_the_greatest_beside_it() -> None:
    assert explain_silence(waterfall(1200, 1100, 90, 80, 0, 0, 0)) == (
        "Nothing was traded: of 90 changes asked for, the rule no_trade_band cut the last 80."
    )
    assert explain_silence(waterfall(1200, 1100, 90, 5, 0, 0, 0)) == (
        "Nothing was traded: of 90 changes asked for, the rule no_trade_band cut the last 5. "
        "The rule that stopped the most was cooldown: 85."
    )


def test_a_record_that_traded_tells_what_stopped_the_most() -> None:
    assert explain_silence(waterfall(1200, 1100, 90, 20, 15, 15, 14, 3)) == (
        "Of 1,200 bar-symbols 1,100 were scored and 90 asked for a change; 15 became orders and 14 of "
        "these were filled. The rule that stopped the most was cooldown: 70."
    )


def test_a_rule_that_forces_sales_stopped_nothing() -> None:
    assert "stopped the most" not in explain_silence(waterfall(9, 9, 3, 4, 4, 4, 4))


def test_a_baseline_without_rules_is_explained_too() -> None:
    frame = waterfall(9, 9, 0, 0, 0, 0, 0).filter(~pl.col("stage").str.starts_with("after"))
    assert "none of the 9 scores asked" in explain_silence(frame)


def test_a_frame_without_the_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="no stage 'ordered' and no stage 'filled', only bars"):
        explain_silence(waterfall(1, 1, 1, 1, 1))


@given(st.lists(st.integers(0, 1000), min_size=7, max_size=7))
def test_it_says_nothing_was_traded_exactly_where_a_stage_is_empty(counts: list[int]) -> None:
    told = explain_silence(waterfall(*counts))
    assert told.startswith("Nothing was traded") == (0 in counts)
    assert told.endswith(".")
