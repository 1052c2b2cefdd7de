"""What a judged training says of itself, and what it is charged for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from optuna.trial import TrialState, create_trial

from evaluation.gates import gate
from pipelines.steps.train import train
from pipelines.tracking.card import LONGEST, brief, explained, verdict_tags
from pipelines.tracking.checks import ask_labels, path_sharpes, score_holdout
from pipelines.tracking.evidence import REGIMES, gather, regime_of
from pipelines.tracking.fits import fit_final
from pipelines.tracking.plan import load_plan, read_panel
from pipelines.tracking.rivals import champion_scores, trade_all
from pipelines.tracking.study import Study
from pipelines.tracking.trials import count_trials, life_of, trials_as_frame, trials_of_frame
from training.tuning import DAILY, pack_returns

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
STUDY = {
    "training__split__holdout_days": 3,
    "training__split__windows": 1,
    "training__evidence__combinatorial_groups": 4,
    "training__search__trials": 2,
}
COMPARABLE = {
    "accuracy_lower",
    "calibration_error",
    "calibration_error_before",
    "deflated_sharpe",
    "degradation_log_loss",
    "expected_maximum_sharpe",
    "importance_mean_spearman",
    "independent_trials",
    "interval_coverage_upper",
    "life_trainings",
    "life_trials",
    "null_shifted_labels_skill",
    "null_shuffled_labels_0_skill",
    "overfitting",
    "return_slope",
    "sharpe_lower",
    "sharpe_upper",
    "skill",
    "skill_lower",
    "superior_p_buy_and_hold",
    "superior_p_cash",
    "superior_p_ema_crossover",
    "track_record_bars_needed",
}


def test_a_training_is_compared_by_stable_names(trained):
    world, report = trained
    with world.open() as context:
        run = context.registry.tracking.client.get_run(report.detail["run_id"])
        metrics = run.data.metrics
        missing = COMPARABLE - set(metrics)
        assert missing <= {"track_record_bars_needed"}, "infinite where nothing was gained"
        assert metrics["life_trials"] == metrics["search_trials"] == 4
        assert metrics["life_trainings"] == 1
        assert metrics["gates"] == len(report.detail["gates"])
        assert metrics["gates_passed"] == sum(g["passed"] for g in report.detail["gates"])
        window = context.registry.tracking.windows_of(report.detail["training_id"])[0]
        inside, outside = (window.data.metrics[f"{p}log_loss"] for p in ("in_sample_", ""))
        assert inside < outside, "a fit remembers"


def test_both_known_answers_are_asked_and_their_gates_stand_first(trained):
    world, report = trained
    names = [gate["name"] for gate in report.detail["gates"]]
    assert names[:3] == ["shuffled_labels_0", "shifted_labels", "no_overlap"]
    with world.open() as context:
        tree = context.registry.tracking.read_json(report.detail["run_id"], "evidence.json")
        assert [check["name"] for check in tree["checks"]] == names[:2]
        tags = context.registry.tracking.client.get_run(report.detail["run_id"]).data.tags
        misbehaved = not all(check["behaves"] for check in tree["checks"])
        assert ("unfit" in tags) == misbehaved


def test_a_training_that_does_not_behave_is_tagged_unfit_with_the_reason():
    behaved = gate("shifted_labels", 0.4, "above", 0, "foreseen")
    blind = gate("shifted_labels", -0.1, "above", 0, "not foreseen")
    poor = gate("beats_flat", -0.2, "above", 0, "return")
    assert "unfit" not in verdict_tags([behaved, poor])
    tags = verdict_tags([blind, poor])
    assert tags["unfit"] == "shifted_labels is -0.1, wanted above 0: not foreseen"
    assert tags["gates.failed"] == f"{tags['unfit']}; beats_flat is -0.2, wanted above 0: return"
    assert tags["gate.beats_flat"] == "failed"


def test_a_span_too_short_to_be_asked_is_not_fit_to_be_believed(trained):
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        _, panel = read_panel(context, plan)
        label = plan.training.label.model_copy(update={"horizon_bars": 200})
        checks, gates = ask_labels(replace(panel, label=label), plan)
        assert checks == []
        assert [(one.name, one.passed) for one in gates] == [("labels_checked", False)]
        assert "not asked" in verdict_tags(gates)["unfit"]
        nulls = plan.training.nulls.model_copy(update={"enabled": False})
        silent = replace(plan, training=plan.training.model_copy(update={"nulls": nulls}))
        assert ask_labels(panel, silent) == ([], [])


def test_a_model_a_symbol_is_asked_with_as_large_a_share_of_its_rows(trained):
    """The checks fit one bar in twelve on half of the span; the training fitted one in two."""
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        _, panel = read_panel(context, plan)
    each = {"scope": "symbol", "group_min_rows": 100}
    plan = replace(plan, training=plan.training.model_copy(update=each))
    fit_final(panel, plan)
    checks, gates = ask_labels(panel, plan)
    assert [check.name for check in checks] == ["shuffled_labels_0", "shifted_labels"]
    assert "labels_checked" not in {one.name for one in gates}


def test_what_could_not_be_measured_is_a_failed_gate_with_the_reason():
    asked = [gate(name, float("nan"), "above", 0, name) for name in ("calibrated", "superior")]
    asked.append(gate("skill", 1.0, "above", 0, "skill"))
    told = explained(asked, {"calibrated": "two rows", "beats_base_rate": "one", "skill": "none"})
    assert [one.meaning for one in told] == ["calibrated; two rows", "superior", "skill"]
    failed = verdict_tags(told)["gates.failed"]
    assert "calibrated is not measured, wanted above 0: calibrated; two rows" in failed


def test_every_gate_without_a_measure_says_why(trained, monkeypatch):
    """One trial that never trades, and a record without a position: nothing can be told of either."""
    world, report = trained
    with world.open() as context:
        run, plan = load_plan(context, report.detail["training_id"])
        inputs, panel = read_panel(context, plan)
        scores = context.lake.read("out_of_fold_scores", end=AS_OF).with_columns(
            expected_return=pl.lit(-1.0, pl.Float32)
        )
        idle = {0: np.zeros(30)}
        monkeypatch.setattr("pipelines.tracking.evidence.trials_of_frame", lambda _frame: idle)
        results = trade_all(context, plan, inputs, scores)
        windows = context.registry.tracking.windows_of(plan.training_id)
        found = gather(context, run, plan, inputs, panel, scores, results, windows, [])
    assert set(found.untold()) == {"overfitting", "superior", "deflated_sharpe"}
    assert "differ in 1 records of 30 days" in found.untold()["overfitting"]
    assert "in 0 of which" in found.untold()["superior"]


def test_a_champion_whose_version_was_deleted_is_no_rival(trained, monkeypatch):
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        scores = context.lake.read("out_of_fold_scores", end=AS_OF)
        for version, there in (("1", True), ("99", False)):
            monkeypatch.setattr(context.ledger, "champion_at", lambda _, v=version: v)
            assert (champion_scores(context, plan, scores) is not None) == there


def test_the_same_book_trades_in_and_out_of_sample(trained):
    """A foreseen wave, so that something is traded and the capital ramp climbs."""
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        inputs, panel = read_panel(context, plan)
        span = inputs.between(plan.windows[0].test_start, plan.windows[-1].test_end)
        told = panel.keys.select("symbol", "known_at", expected_return=pl.Series(panel.realised))
        scores = context.lake.read("out_of_fold_scores", end=AS_OF).drop("expected_return")
        scores = scores.join(told, on=("symbol", "known_at"), how="left").fill_nan(0.0)
        slowly = span.trade(context.settings, scores).metrics["sharpe"]
        assert slowly > 1.0
        assert span.trade_quickly(context.settings, scores).sharpe == pytest.approx(slowly)


def left_unchosen(context, training_id, *daily):
    """Plan a training and finish a trial for each record, but choose nothing."""
    run = context.registry.tracking.open_training(training_id, AS_OF, {"planned": "true"})
    with Study(context.databases.optuna, training_id) as study:
        for place, returns in enumerate(daily):
            state = TrialState.PRUNED if place else TrialState.COMPLETE
            kept = {DAILY: pack_returns(np.array(returns))}
            study.record(place, create_trial(state=state, value=0.0, user_attrs=kept), 1.0)
    return run.info.run_id


def test_trials_are_counted_over_the_life_of_the_experiment_deleted_and_abandoned_too(world):
    with world.open() as context:
        tracking = context.registry.tracking
        for number, (hours, metrics) in enumerate(
            [
                (0, {"search_trials": 4, "trial_sharpe_mean": 1.0, "trial_sharpe_variance": 1.0}),
                (0, {"search_trials": 4, "trial_sharpe_mean": 3.0, "trial_sharpe_variance": 1.0}),
                (1, {"search_trials": 8, "trial_sharpe_mean": 9.0, "trial_sharpe_variance": 4.0}),
                (0, {"search_trials": 5}),
                (0, {}),
            ]
        ):
            as_of = AS_OF + hours * HOUR
            run = tracking.open_training(f"t{number}", as_of, {})
            tracking.log(run.info.run_id, metrics=metrics)
            if number == 1:
                tracking.client.delete_run(run.info.run_id)
        past, later = (life_of(tracking.trainings(AS_OF + h * HOUR)) for h in (0, 1))
        left_unchosen(context, "untouched")
        abandoned = left_unchosen(context, "abandoned", [0.01, -0.02, 0.03], [0.02, 0.01, -0.01])
        tracking.client.delete_run(abandoned)
        charged = count_trials(context, AS_OF)
    assert (past.trainings, past.moments.trials) == (3, 13)
    assert (past.moments.sharpe_mean, past.moments.sharpe_variance) == (2.0, 2.0)
    assert (later.trainings, later.moments.trials) == (4, 21)
    assert later.moments.sharpe_variance > 4
    assert (charged.trainings, charged.moments.trials) == (4, 15)
    assert charged.moments.sharpe_variance > 2


def test_daily_returns_of_trials_survive_as_a_frame():
    daily = {0: np.array([0.5, -0.25, 0.0]), 2: np.array([0.125])}
    frame = trials_as_frame(daily)
    assert set(frame.dtypes) == {pl.Float32()}
    found = trials_of_frame(frame)
    assert {place: values.tolist() for place, values in found.items()} == {
        0: [0.5, -0.25, 0.0],
        2: [0.125],
    }


def test_the_state_of_the_market_is_read_from_its_five_flags(trained):
    world, report = trained
    with world.open() as context:
        _, plan = load_plan(context, report.detail["training_id"])
        _, panel = read_panel(context, plan)
    assert set(regime_of(panel)) == {-1}, "the set has no such features"
    flags = np.zeros((panel.known_at.size, 5), dtype=np.float32)
    flags[0, 4] = flags[1, 0] = 1
    flags[2] = np.nan
    names = tuple(f"regime_{name}" for name in REGIMES)
    told = regime_of(replace(panel, X=flags, feature_names=names))
    assert told[:4].tolist() == [4, 0, -1, -1]
    assert REGIMES[4] == "storm"


def test_a_card_longer_than_the_registry_keeps_is_cut_at_a_line_and_says_so():
    assert brief("short") == "short"
    text = brief("a line of a card\n" * 1_000)
    assert len(text) <= LONGEST
    assert text.splitlines()[-3] == "a line of a card"
    assert "card.md" in text.splitlines()[-1]


@pytest.mark.long
def test_a_study_scores_its_hold_out_once_walks_many_paths_and_meets_the_champion(trained, world):
    """The second training: there is a champion, trials before it, and days that nobody saw."""
    with world.open() as context:
        first = train(context, AS_OF - 24 * HOUR)
    with world.open(**STUDY) as context:
        report = train(context, AS_OF)
        run, plan = load_plan(context, report.detail["training_id"])
        metrics = run.data.metrics
        assert metrics["life_trials"] == 4 + 2
        assert metrics["life_trainings"] == 2
        assert -1 <= metrics["importance_previous_spearman"] <= 1
        assert metrics["path_sharpe_lowest"] <= metrics["path_sharpe_median"]
        assert metrics["path_sharpe_median"] <= metrics["path_sharpe_highest"]
        assert run.data.tags["holdout.start"] == "2024-01-28T00:00Z"
        assert run.data.tags["holdout.end"] == "2024-01-30T12:00Z"
        assert metrics["holdout_rows"] == 60 * 3
        assert metrics["holdout_spent_share"] == 0
        assert "gate.holdout" in run.data.tags
        card = run.data.tags["mlflow.note.content"]
        assert "Sharpe ratio along 3 combinatorial paths" in card
        assert "they begin with the span on which the parameters were chosen" in card
        inputs, panel = read_panel(context, plan)
        ratios, audits = path_sharpes(context, plan, inputs, panel)
        assert ratios.size == 3
        assert sum(audit.overlaps for audit in audits) == 0
        again = score_holdout(context, plan, inputs, panel)
        assert again.metrics["log_loss"] == metrics["holdout_log_loss"]
        assert again.spent_share == 0, "a training's own look does not spend it for itself"
        assert count_trials(context, AS_OF - 24 * HOUR).trainings == 1
        scores = context.lake.read("out_of_fold_scores", end=AS_OF)
        mine = scores.filter(training_id=plan.training_id)
        theirs = champion_scores(context, plan, mine)
        assert first.detail["champion"] == "1"
        assert "champion_total_return" in metrics
        assert theirs is not None
        assert theirs.height >= 0.95 * mine.height
