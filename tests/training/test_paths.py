"""Many paths through one history, every step of them out of sample."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.panel import build_panel
from training.paths import path_expectations

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)


def of_groups(config, groups):
    evidence = config.evidence.model_copy(update={"combinatorial_groups": groups})
    return config.model_copy(update={"evidence": evidence})


@pytest.fixture
def panel(bars, features, config):
    return build_panel(bars, features, config.label, timeframe=HOUR, end=END)


def test_every_row_is_foreseen_along_every_path_without_overlap(panel, config):
    rows = panel.training_rows(START, END)
    expected, audits = path_expectations(panel, rows, {"rounds": 10}, of_groups(config, 4))
    assert expected.shape == (3, rows.size)
    assert np.isfinite(expected).all()
    assert [audit.overlaps for audit in audits] == [0] * 6
    assert not np.array_equal(expected[0], expected[1])
    correlation = np.corrcoef(expected.mean(axis=0), panel.realised[rows])[0, 1]
    assert correlation > 0.1, "the market has a signal"


def test_paths_repeat_themselves(panel, config):
    rows = panel.training_rows(START, END)
    once, again = (
        path_expectations(panel, rows, {"rounds": 5}, of_groups(config, 4))[0] for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)


def test_a_history_too_short_for_its_groups_is_refused(panel, config):
    rows = panel.training_rows(START, START + timedelta(hours=30))
    with pytest.raises(ValueError, match="instants cannot make 16 folds"):
        path_expectations(panel, rows, {}, of_groups(config, 16))
