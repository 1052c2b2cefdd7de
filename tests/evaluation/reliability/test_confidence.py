import polars as pl
import pytest

from evaluation.reliability import by_confidence


def test_the_surer_the_more_often_right(honest: pl.DataFrame) -> None:
    table = by_confidence(honest)
    assert table["bin"].to_list() == list(range(1, 11))
    assert table["rows"].to_list() == [600] * 10
    assert table["confidence"].is_sorted()
    assert (table["accuracy"] - table["confidence"]).abs().max() < 0.06
    assert table["accuracy"][-1] > table["accuracy"][0] + 0.3
    assert table["log_loss"][-1] < table["log_loss"][0]
    assert table["earned"][-1] > table["earned"][0]


def test_figures_of_a_bin_are_those_of_its_rows() -> None:
    scored = pl.DataFrame(
        {
            "p_down": [0.2, 0.1, 0.0],
            "p_flat": [0.4, 0.2, 0.0],
            "p_up": [0.4, 0.7, 1.0],
            "expected_return": [0.01, -0.02, 0.04],
            "realised_return": [0.03, -0.01, -0.02],
            "outcome": [1, 2, None],
        }
    )
    first, second = by_confidence(scored, bins=2).to_dicts()
    assert (first["rows"], first["confidence"], first["accuracy"]) == (1, 0.4, 1.0)
    assert first["brier"] == pytest.approx(0.2**2 + 0.6**2 + 0.4**2)
    assert (second["expected_return"], second["realised_return"]) == (-0.02, -0.01)
    assert (second["expected_size"], second["earned"]) == (0.02, 0.01)
    assert second["directional_accuracy"] == 1.0
    assert by_confidence(scored, bins=10).height == 2


def test_without_an_outcome_nothing_is_measured(unknown: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="no outcome of the scored rows is known"):
        by_confidence(unknown)
