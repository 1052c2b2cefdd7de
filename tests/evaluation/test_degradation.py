import math

import pytest

from evaluation.degradation import degradation

INSIDE = [{"sharpe": 3.0, "log_loss": 0.8, "trades": 4.0}, {"sharpe": 4.0, "log_loss": 0.9}]
OUTSIDE = [{"sharpe": 1.0, "log_loss": 1.0}, {"sharpe": 1.0, "log_loss": 1.1, "trades": 3.0}]


def test_what_is_lost_is_positive_for_figures_to_be_large_and_for_figures_to_be_small():
    sharpe, loss = degradation(INSIDE, OUTSIDE)
    assert (sharpe.metric, sharpe.in_sample, sharpe.out_of_sample) == ("sharpe", 3.5, 1.0)
    assert sharpe.loss == 2.5
    assert (loss.metric, loss.windows) == ("log_loss", 2)
    assert loss.loss == pytest.approx(0.2)


def test_the_interval_is_that_of_student_over_the_windows():
    # losses 2 and 3: mean 2.5, standard error 0.5; t(1) at 0.95 is 6.313752
    sharpe = degradation(INSIDE, OUTSIDE)[0]
    assert sharpe.lower == pytest.approx(2.5 - 6.313751514675043 * 0.5)
    assert sharpe.upper == pytest.approx(2.5 + 6.313751514675043 * 0.5)
    assert sharpe.as_json()["level"] == 0.9


def test_the_line_over_the_windows_is_least_squares():
    inside = [{"sharpe": x} for x in (1.0, 2.0, 3.0, 4.0)]
    outside = [{"sharpe": y} for y in (2.0, 1.5, 1.0, 0.5)]
    assert degradation(inside, outside)[0].slope == pytest.approx(-0.5)
    assert math.isnan(degradation(inside[:2], outside[:2])[0].slope)
    assert math.isnan(degradation(inside[:1] * 4, outside)[0].slope)


def test_a_window_without_the_figure_is_left_out_of_it_and_one_alone_has_no_interval():
    inside = [{"sharpe": math.nan, "brier": 0.5}, {"sharpe": 2.0, "brier": 0.5}]
    outside = [{"sharpe": 1.0, "brier": 0.6}, {"sharpe": 1.0, "brier": 0.7}]
    sharpe, brier = degradation(inside, outside)
    assert (sharpe.windows, sharpe.loss) == (1, 1.0)
    assert math.isnan(sharpe.lower)
    assert (brier.windows, brier.loss) == (2, pytest.approx(0.15))


@pytest.mark.parametrize(
    ("inside", "outside", "said"),
    [
        (INSIDE, OUTSIDE[:1], "2 windows in and 1 out of sample"),
        ([{"rows": 1.0}], [{"rows": 1.0}], "with 0 of the metrics sharpe"),
        ([], [], "0 windows in and 0 out"),
    ],
)
def test_sides_that_do_not_match_are_refused(inside, outside, said):
    with pytest.raises(ValueError, match=said):
        degradation(inside, outside)
