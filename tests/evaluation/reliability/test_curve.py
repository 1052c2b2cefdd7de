import numpy as np
import polars as pl
import pytest

from evaluation.reliability import EVENTS, calibration_curve


def slow_error(predicted: np.ndarray, hit: np.ndarray, bins: int) -> float:
    order = np.argsort(predicted)
    parts = np.array_split(order, bins)
    return sum(part.size * abs(hit[part].mean() - predicted[part].mean()) for part in parts) / len(
        hit
    )


@pytest.mark.parametrize("event", EVENTS)
def test_honest_probabilities_come_true_as_often_as_they_say(honest, event) -> None:
    found = calibration_curve(honest, event)
    assert (found.curve["observed"] - found.curve["predicted"]).abs().max() < 0.07
    # 600 rows a bin: sqrt(2 / pi) sqrt(p (1 - p) / 600), a little under 0.016 for p of about a third
    assert 0.012 < found.noise < 0.017
    assert found.error.value < 1.5 * found.noise
    assert 0.0 <= found.error.lower < 0.5 * found.error.value


def test_the_error_is_that_of_its_plain_twin(bold) -> None:
    found = calibration_curve(bold, "up", bins=10)
    predicted, hit = bold["p_up"].to_numpy(), bold["outcome"].to_numpy() == 2
    assert found.error.value == pytest.approx(slow_error(predicted, hit, 10), abs=1e-12)
    assert found.curve["rows"].to_list() == [600] * 10
    assert found.as_json()["curve"][0]["rows"] == 600


def test_bold_probabilities_are_told_and_their_error_is_beyond_noise(bold) -> None:
    found = calibration_curve(bold)
    assert found.error.value > 0.2
    assert found.error.lower > 0.18 > 10 * found.noise
    assert found.curve["predicted"][-1] > found.curve["observed"][-1] + 0.2


def test_equal_probabilities_are_one_bin() -> None:
    scored = pl.DataFrame(
        {
            "known_at": pl.datetime_range(
                pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 2), "1h", eager=True
            ),
            **{name: [0.2] * 10 + [0.5] * 15 for name in ("p_down", "p_up")},
            "p_flat": [0.6] * 10 + [0.0] * 15,
            "outcome": [0, 1] * 5 + [2] * 15,
        }
    )
    found = calibration_curve(scored, "up").curve
    assert found.rows() == [(pytest.approx(0.2), 0.0, 10), (pytest.approx(0.5), 1.0, 15)]


def test_an_unknown_event_is_refused(honest) -> None:
    with pytest.raises(
        ValueError, match="event 'sideways' is not known; known are likeliest, down"
    ):
        calibration_curve(honest, "sideways")
