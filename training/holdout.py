"""The hold-out: the newest days, which nothing may look at until everything is decided.

With ``split.holdout_days: 0``, the default, there is none: a model that trades tomorrow needs to have
learned from yesterday, and its paper book is the test that nobody has seen. A *study*, in which
people choose between models, labels and settings by the windows of the walk-forward, sets it: then
windows, search and the final fit all end at `training.walk_forward.study_end`, with every label over,
and the hold-out after it is scored once, by the final fit, when the study is judged. Looking is
spending: a later study whose hold-out covers days that were scored before must say how many
(`spent_share`).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from training.config import TrainingConfig
from training.walk_forward import Window, study_end


def final_span(
    as_of: datetime, first: datetime, config: TrainingConfig, *, timeframe: timedelta
) -> tuple[datetime, datetime]:
    """Return (start, end) of the span that the fit for deployment learns from.

    It ends at `study_end`. It is as long as the walk-forward's training spans are: `train_days`, or
    with ``split.expanding`` from where the oldest window's began, and cut at the first row of history.

    Parameters
    ----------
    as_of : datetime
    first : datetime
        `known_at` of the first row of features.
    config : TrainingConfig
    timeframe : timedelta
    """
    split, end = config.split, study_end(as_of, config)
    start = end - timedelta(days=split.train_days)
    if split.expanding:
        horizon = config.label.horizon_bars * timeframe
        start -= timedelta(days=split.windows * split.test_days) + horizon
    return max(start, first - timeframe), end


def plan_holdout(
    as_of: datetime, first: datetime, config: TrainingConfig, *, timeframe: timedelta
) -> Window | None:
    """Return the hold-out as one more window after those of the walk-forward, or None.

    Its training span is `final_span`; its test rows are known after it, and it ends one label horizon
    before `as_of`, so that every test row has its outcome. Its number is `split.windows`.

    Parameters
    ----------
    as_of, first, config, timeframe
        As in `final_span`.

    Raises
    ------
    ValueError
        If the hold-out is not longer than a label's horizon: no row in it would have its outcome.
    """
    split, horizon = config.split, config.label.horizon_bars * timeframe
    if not split.holdout_days:
        return None
    start, end = final_span(as_of, first, config, timeframe=timeframe)
    if as_of - horizon <= end:
        raise ValueError(
            f"a hold-out of {split.holdout_days:g} days is no longer than the label's horizon of "
            f"{horizon / timedelta(days=1):g} days, so no row in it has an outcome; set "
            "split.holdout_days higher, or to 0 for none"
        )
    return Window(split.windows, start, end, as_of - horizon)


def spent_share(holdout: Window, scored: Iterable[tuple[datetime, datetime]]) -> float:
    """Return the share of a hold-out's time that was looked at before, in [0, 1].

    Parameters
    ----------
    holdout : Window
    scored : iterable of (start, end)
        Spans, half-open to the left, of hold-outs that were scored before; they may overlap.
    """
    reached, spent = holdout.test_start, timedelta(0)
    for start, end in sorted(scored):
        begin, stop = max(start, reached), min(end, holdout.test_end)
        if stop > begin:
            spent += stop - begin
            reached = stop
    return spent / (holdout.test_end - holdout.test_start)
