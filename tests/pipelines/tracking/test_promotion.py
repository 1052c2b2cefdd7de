"""Three models of one home, two challengers of a champion: decided daily, watched hourly, overruled by hand."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from evaluation.drift.judgement import not_measured
from pipelines import paired_records
from pipelines.errors import ConfigError, ContractViolation
from pipelines.ledger.schema import equity, fills, orders
from pipelines.ledger.shadows import Shadow
from pipelines.promotion import candidates, succession
from pipelines.promotion.admission import admit
from pipelines.promotion_list import list_decisions, list_promotions
from pipelines.steps import promote_model as promote_module
from pipelines.steps import watch_champion as watch_module
from pipelines.steps.change_champion import change_champion
from pipelines.steps.compare_models import compare_models
from pipelines.steps.promote_model import promote_model
from pipelines.steps.score_bars import score_bars
from pipelines.steps.settle_promotion import NOBODY, settle_promotion
from pipelines.steps.watch_champion import watch_champion
from pipelines.tables import BARS, DRIFT, KEY, OUT_OF_FOLD_SCORES, QUARANTINE
from pipelines.tracking.plan import load_plan
from serving.state import new_state, state_to_json

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=46)
NEXT = NOW + HOUR
LATEST = AS_OF + timedelta(days=2)
SMALL = {
    "comparison__level": 0.3,
    "comparison__block_hours": 1,
    "comparison__scale_blocks": 2,
    "comparison__minimum_blocks": 4,
    "comparison__loss_block_hours": 4,
    "comparison__bootstrap_paths": 100,
    "promotion__bars": 40,
    "promotion__trades": 1,
    "promotion__overfitting": 1.0,
    "promotion__calibration_error": 1.0,
    # A training on a month of a made market is unfit, and every window of it another world.
    "promotion__required": [
        "evidence", "log_loss", "bars", "trades", "drawdown", "deflated_sharpe", "overfitting",
        "calibrated", "data_quality", "feature_set", "reproducible",
    ],
}  # fmt: skip
LEDGER = (
    "promotions", "shadows", "audit", "equity", "fills", "orders", "book_events", "books",
)  # fmt: skip
_FLAT = state_to_json(new_state(0, Decimal(100_000)), ())


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


def killed(*_, **__):
    raise Killed


@pytest.fixture(scope="module")
def registered(watched):
    """A trained home with two more versions of the same model."""
    world, _ = watched
    with world.open() as context:
        for ending in ("a", "b"):
            register_again(context, ending)
    return world


def register_again(context, ending):
    """Register the model of version 1 once more."""
    registry = context.registry
    info, scorer = registry.version_info("1"), registry.load("1")
    example = np.zeros((2, len(scorer.feature_names)), np.float32)
    training = info.training_id[:-1] + ending
    registry.log_model(info.run_id, training, scorer, example=example, tags=info.tags)
    return registry.register(training, {}, "")


@pytest.fixture
def rivals(registered, tmp_path):
    """`rivals(**settings)`: version 1 champion since AS_OF, 2 and 3 beside it, over an empty ledger."""
    opened = []
    shutil.copytree(registered.settings.home / "lake", tmp_path / "lake")

    def open_home(**settings):
        where = {"lake__uri": str(tmp_path / "lake"), "home": str(tmp_path / "home")}
        context = registered.open(**{**SMALL, **where, **settings})
        if not opened:
            empty(context)
            for version in ("1", "2", "3"):
                open_book(context, version)
            context.ledger.promote(
                "1", effective_from=AS_OF, kind="first", reason="first", decided_by="register"
            )
            context.registry.mirror(champion="1", challengers=["2", "3"], restore=True)
        opened.append(context)
        return context

    yield open_home
    for context in opened:
        context.close()


def empty(context, *tables):
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    assert context.ledger
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        for table in tables or LEDGER:
            connection.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()


def open_book(context, version):
    context.ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=AS_OF,
        initial_cash=100_000.0,
        reason="registered",
        decided_by="register",
    )


def earn(context, version, returns, *, trades=True):
    """Let the book of a version have earned these log returns, hour by hour, and one fill."""
    book = next(b for b in context.ledger.books() if b.model_version == version)
    levels = 100_000.0 * np.exp(np.cumsum(returns))
    rows = [
        {
            "book_id": book.book_id,
            "known_at": AS_OF + (i + 1) * HOUR,
            **dict.fromkeys(("equity", "cash", "peak"), Decimal(f"{level:.8f}")),
            "exposure": Decimal(0),
            "drawdown": 0.0,
            "state": _FLAT,
        }
        for i, level in enumerate(levels)
    ]
    order = {
        "order_id": uuid4(),
        "book_id": book.book_id,
        "symbol": "AAA/USDT",
        "known_at": AS_OF + HOUR,
        "kind": "market",
        "side": "buy",
        "quantity": Decimal(1),
        "reference_price": 1.0,
    }
    asked = {"valid_until": AS_OF + HOUR, "stop_distance": 0.0, "target_weight": 0.1}
    filled = dict.fromkeys(("notional", "fee", "realised"), Decimal(1))
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.insert(equity), rows)
        if trades:
            connection.execute(sa.insert(orders), [order | asked])
            connection.execute(
                sa.insert(fills), [order | filled | {"fill_id": uuid4(), "price": 1.0}]
            )
    engine.dispose()


def noise(seed, mean=0.0, hours=46):
    return np.random.default_rng(seed).normal(mean, 0.001, hours)


def a_better_second(context, versions=("1", "2", "3")):
    """Version 2 earns more on every hour, the others do not; all scored, all compared."""
    for version in versions:
        earn(context, version, noise(int(version), 0.004 if version == "2" else 0.0))
    score_bars(context, NOW)
    compare_models(context, NOW)


def gates(context, version):
    rows = context.lake.read("promotion_gates", start=NOW - HOUR, end=NOW)
    rows = rows.filter(pl.col("challenger") == version)
    return {row["gate"]: row for row in rows.iter_rows(named=True)}


def history(context):
    return [(p.version, p.previous, p.kind, p.effective_from) for p in context.ledger.promotions()]


def everything(context):
    return (
        list_promotions(context),
        list_decisions(context, 100),
        context.lake.read("promotion_gates", end=LATEST).to_dicts(),
        context.registry.champion_alias("1")[0],
        context.ledger.counts()["audit"],
    )


def test_who_earned_more_is_promoted_from_the_next_hour_with_all_its_evidence(rivals):
    context = rivals()
    a_better_second(context)
    report = promote_model(context, NOW)
    assert (report.detail["outcome"], report.detail["version"]) == ("promoted", "2")
    assert history(context) == [("1", None, "first", AS_OF), ("2", "1", "evidence", NEXT)]
    promotion = context.ledger.promotions()[-1]
    assert promotion.evidence["gates"]["evidence"] >= 2 / promotion.evidence["level"]
    assert promotion.evidence["gates"]["reproducible"] < 1e-9
    assert {name for name, row in gates(context, "2").items() if not row["passed"]} <= {
        "no_drift",
        "no_leak",
    }
    failed = gates(context, "3")
    assert not failed["evidence"]["passed"]
    assert failed["reproducible"]["reason"] == "not asked while another gate fails"
    said = {d["version"]: (d["outcome"], d["reason"]) for d in list_decisions(context, 9)}
    assert said["2"][0] == "promoted"
    assert said["3"][0] == "kept"
    assert "e-value of earning more than the champion on the same bars" in said["3"][1]
    assert context.registry.champion_alias("2") == ("2", False)
    roles = {v.version: v.tags["role"] for v in context.registry.versions()}
    assert roles == {"1": "previous", "2": "champion", "3": "challenger"}
    assert context.ledger.champion_at(NOW) == "1"
    assert context.ledger.champion_at(NEXT) == "2"
    assert [found for found in context.ledger.verify() if "promotion" in found] == []


def test_of_losses_too_a_plan_is_there_on_the_first_day(rivals, monkeypatch):
    context = rivals()
    first, second = (context.registry.version_info(v).training_id for v in ("1", "2"))
    plan = load_plan(context, first)[1]
    tested = context.lake.read("out_of_fold_scores", end=AS_OF)
    assert set(tested["training_id"]) == {first}
    nudge = pl.Series(np.random.default_rng(0).uniform(0, 0.1, tested.height))
    sure, unsure = pl.col("p_up") * (1 - nudge), pl.col("p_down") + pl.col("p_up") * nudge
    other = tested.with_columns(training_id=pl.lit(second), p_up=sure, p_down=unsure)
    table, start = OUT_OF_FOLD_SCORES, tested["known_at"].min() - HOUR
    context.lake.replace(table, pl.concat([tested, other]), start=start, end=AS_OF)
    for version in ("1", "2"):
        earn(context, version, noise(int(version)))
    plans = {first: plan, second: replace(plan, training_id=second)}

    def load(_, training):
        if training not in plans:
            raise ContractViolation("no such training", remedy="train again")
        return None, plans[training]

    monkeypatch.setattr(paired_records, "load_plan", load)
    compare_models(context, NOW)
    rows = context.lake.read("comparisons", start=NOW - HOUR, end=NOW)
    row = rows.filter(challenger="2", measure="log_loss").row(0, named=True)
    assert row["verdict"] == "not_comparable"
    assert 0 < row["minimum_detectable_365d"] < row["minimum_detectable_30d"]
    # Of the third nothing can be planned: its training is not known.
    (unknown,) = rows.filter(challenger="3", measure="log_loss")["minimum_detectable_30d"]
    assert unknown is None


def test_deciding_twice_changes_nothing_though_the_champion_has_changed(rivals):
    context = rivals()
    a_better_second(context)
    promote_model(context, NOW)
    before = everything(context)
    assert not promote_model(context, NOW).changed
    assert not watch_champion(context, NEXT).changed
    assert everything(context) == before


def test_a_kill_between_ledger_and_row_is_made_good_by_the_next_run(rivals, monkeypatch):
    context = rivals()
    a_better_second(context)
    with monkeypatch.context() as patch:
        patch.setattr(promote_module, "write_decisions", killed)
        with pytest.raises(Killed):
            promote_model(context, NOW)
    assert list_decisions(context, 9) == []
    assert promote_model(context, NOW).detail["outcome"] == "promoted"
    outcomes = {d["version"]: d["outcome"] for d in list_decisions(context, 9)}
    assert outcomes == {"2": "promoted", "3": "kept"}
    assert len(context.ledger.promotions()) == 2
    assert context.registry.champion_alias("2") == ("2", False)


def test_a_proposal_waits_for_a_person_and_an_approval_is_a_promotion(rivals):
    context = rivals()
    a_better_second(context)
    report = promote_model(context, NOW, "approve")
    assert report.detail["outcome"] == "proposed"
    text = report.detail["proposal"]
    assert "**Version 2** shall succeed **version 1**" in text
    assert "| evidence |" in text
    assert len(context.ledger.promotions()) == 1
    answer = settle_promotion(context, NOW, "2", "Approve", "ada")
    assert answer.detail["outcome"] == "promoted"
    promotion = context.ledger.promotions()[-1]
    assert (promotion.kind, promotion.decided_by) == ("approval", "ada")
    assert promotion.evidence["gates"]["bars"] == 46.0
    assert not settle_promotion(context, NOW, "2", "Approve", "ada").changed
    with pytest.raises(ConfigError, match="version 3 was not proposed"):
        settle_promotion(context, NOW, "3", "Approve", "ada")
    with pytest.raises(ConfigError, match="answer 'Maybe' by 'ada'"):
        settle_promotion(context, NOW, "2", "Maybe", "ada")


def test_an_approval_killed_before_its_row_is_settled_by_the_next_run(rivals, monkeypatch):
    context = rivals()
    a_better_second(context)
    promote_model(context, NOW, "approve")
    whole = context.ledger.promote

    def promote_and_die(*given, **named):
        whole(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(context.ledger, "promote", promote_and_die)
        with pytest.raises(Killed):
            settle_promotion(context, NOW, "2", "Approve", "ada")
    assert settle_promotion(context, NOW, "2", "Approve", "ada").detail["outcome"] == "promoted"
    assert len(context.ledger.promotions()) == 2


def test_what_was_rejected_is_not_proposed_again_for_a_week(rivals):
    context = rivals(promotion__mode="approve")
    a_better_second(context)
    promote_model(context, NOW - HOUR)
    compare_models(context, NOW - HOUR)
    promote_model(context, NOW - HOUR)
    settle_promotion(context, NOW - HOUR, "2", "Reject", "ada")
    report = promote_model(context, NOW)
    assert report.detail["outcome"] == "kept"
    (said,) = [d["reason"] for d in report.detail["decisions"] if d["version"] == "2"]
    assert "rejected at 2024-02-01T21:00Z, proposed again 7 days after" in said
    eager = rivals(promotion__mode="approve", promotion__propose_every_days=0.001)
    assert promote_model(eager, NOW).detail["outcome"] == "proposed"


def test_by_hand_means_that_evidence_only_names_who_is_ready(rivals):
    context = rivals(promotion__mode="manual")
    a_better_second(context)
    assert promote_model(context, NOW).detail["outcome"] == "ready"
    assert len(context.ledger.promotions()) == 1
    with pytest.raises(ConfigError, match="mode 'always' is not known"):
        promote_model(context, NOW, "always")


def test_drift_that_was_not_measured_is_not_taken_for_none(rivals, monkeypatch):
    context = rivals()
    a_better_second(context)
    found = [not_measured("outcomes", "166 bars of the 168 that are compared so far", 166)]
    monkeypatch.setattr(candidates, "judge_version", lambda *_: (found, None, None))
    promote_model(context, NOW)
    row = gates(context, "2")["no_drift"]
    assert (row["observed"], row["passed"]) == (None, False)
    assert "outcomes: 166 bars of the 168" in row["reason"]


def test_hours_of_bars_that_were_refused_count_until_they_are_mended(rivals):
    context = rivals(promotion__mode="manual")
    a_better_second(context)
    bars = context.lake.read("bars", start=NOW - 2 * HOUR, end=NOW)
    what = {"table": "bars", "reason": "a jump", "row": "{}", "quarantined_at": NOW}
    refused = bars.select(pl.col(KEY), **{name: pl.lit(value) for name, value in what.items()})
    refused = refused.select(*QUARANTINE.schema).cast(dict(QUARANTINE.schema))
    context.lake.replace(QUARANTINE, refused, start=NOW - 2 * HOUR, end=NOW)
    promote_model(context, NOW)
    assert gates(context, "2")["data_quality"]["observed"] == 0.0
    context.lake.replace(BARS, bars.head(0), start=NOW - HOUR, end=NOW)
    promote_model(context, NOW)
    assert gates(context, "2")["data_quality"]["observed"] == 1.0


def test_without_overlap_or_trades_nobody_is_promoted_and_the_row_says_why(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    earn(context, "2", noise(2, 0.01), trades=False)
    compare_models(context, NOW)
    report = promote_model(context, NOW)
    assert report.detail["outcome"] == "kept"
    said = {d["version"]: d["reason"] for d in report.detail["decisions"]}
    assert "trade" in said["2"]
    assert "no overlap" in said["3"] or "overlap" in said["3"]
    assert gates(context, "2")["evidence"]["observed"] is None


def test_a_version_that_was_deleted_cannot_become_champion(rivals, monkeypatch):
    context = rivals()
    a_better_second(context)
    known = context.registry.version_info

    def gone(version):
        if version == "2":
            raise ContractViolation("model hourglass has no version 2", remedy="train again")
        return known(version)

    monkeypatch.setattr(context.registry, "version_info", gone)
    report = promote_model(context, NOW)
    assert report.detail["outcome"] == "kept"
    assert "has no version 2" in gates(context, "2")["feature_set"]["reason"]


def test_of_two_deciders_at_once_one_wins_and_the_other_writes_that_it_came_late(
    rivals, monkeypatch
):
    context = rivals()
    a_better_second(context)
    whole = context.ledger.promote

    def another_was_faster(version, **how):
        whole("3", **{**how, "kind": "hand", "reason": "a person", "evidence": None})
        return whole(version, **how)

    monkeypatch.setattr(context.ledger, "promote", another_was_faster)
    report = promote_model(context, NOW)
    assert report.detail["outcome"] == "refused"
    said = next(d for d in report.detail["decisions"] if d["version"] == "2")
    assert "was to succeed 1, but 3 is champion" in said["reason"]
    assert [p.version for p in context.ledger.promotions()] == ["1", "3"]


def test_an_alias_moved_by_hand_holds_from_the_hour_it_is_noticed(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    client, name = context.registry.tracking.client, context.registry.name
    client.set_registered_model_alias(name, "champion", "3")
    # Whatever else mirrors the roles leaves the person's wish alone.
    context.registry.mirror(champion="1", challengers=["2", "3"])
    assert context.registry.champion_alias("1") == ("3", True)
    report = watch_champion(context, NEXT)
    assert report.changed
    assert history(context)[-1] == ("3", "1", "alias", NEXT)
    (decision,) = list_decisions(context, 9)
    assert (decision["outcome"], decision["decided_by"]) == ("promoted", "a person, in MLflow")
    before = everything(context)
    assert not watch_champion(context, NEXT).changed
    assert everything(context) == before
    assert client.get_model_version_by_alias(name, "previous").version == 1


def test_an_alias_noticed_late_never_reaches_into_hours_that_were_traded(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    context.registry.tracking.client.set_registered_model_alias(
        context.registry.name, "champion", "2"
    )
    watch_champion(context, AS_OF + 5 * HOUR)
    assert history(context)[-1] == ("2", "1", "alias", NEXT)
    before = everything(context)
    for hours in (5, 6, 20):
        assert not watch_champion(context, AS_OF + hours * HOUR).changed
    assert everything(context) == before


def test_an_alias_on_what_cannot_serve_is_put_back_with_the_reason(rivals):
    context = rivals()
    context.ledger.retire_book("model-3", at=AS_OF + HOUR, reason="old", decided_by="register")
    client, name = context.registry.tracking.client, context.registry.name
    client.set_registered_model_alias(name, "champion", "3")
    watch_champion(context, NOW)
    (decision,) = list_decisions(context, 9)
    assert decision["outcome"] == "refused"
    assert "version 3 has a retired book" in decision["reason"]
    assert context.registry.champion_alias("1") == ("1", False)
    client.delete_registered_model_alias(name, "champion")
    watch_champion(context, NEXT)
    assert [d["outcome"] for d in list_decisions(context, 9)] == ["repaired", "refused"]
    assert context.registry.champion_alias("1") == ("1", False)
    assert len(context.ledger.promotions()) == 1


@pytest.mark.parametrize("alias", ["challenger", "previous"])
def test_the_other_aliases_are_put_right_too_and_that_is_written_down(rivals, alias):
    context = rivals()
    earn(context, "1", noise(1))
    client, name = context.registry.tracking.client, context.registry.name
    assert not watch_champion(context, NEXT).changed
    client.set_registered_model_alias(name, alias, "2")
    watch_champion(context, NEXT)
    (decision,) = list_decisions(context, 9)
    assert (decision["outcome"], decision["version"]) == ("repaired", "1")
    assert f"{alias} did not name whom the ledger names" in decision["reason"]
    aliases = client.get_registered_model(name).aliases
    assert (str(aliases["challenger"]), "previous" in aliases) == ("3", False)
    assert not watch_champion(context, NEXT + HOUR).changed


def test_why_an_alias_was_put_back_is_written_before_it_is(rivals, monkeypatch):
    context = rivals()
    context.ledger.retire_book("model-3", at=AS_OF + HOUR, reason="old", decided_by="register")
    client, name = context.registry.tracking.client, context.registry.name
    client.set_registered_model_alias(name, "champion", "3")
    with monkeypatch.context() as patch:
        patch.setattr(watch_module, "mirror_roles", killed)
        with pytest.raises(Killed):
            watch_champion(context, NOW)
    assert [d["outcome"] for d in list_decisions(context, 9)] == ["refused"]
    watch_champion(context, NOW)
    assert [d["outcome"] for d in list_decisions(context, 9)] == ["refused"]
    assert context.registry.champion_alias("1") == ("1", False)


def test_a_champion_that_falls_too_far_gives_the_role_back_from_the_next_hour(rivals):
    context = rivals()
    fall = np.concatenate([noise(2, hours=40), np.full(6, -0.04)])
    context.ledger.promote(
        "2", effective_from=AS_OF + HOUR, kind="evidence", reason="better", decided_by="test"
    )
    earn(context, "1", noise(1))
    earn(context, "2", fall)
    context.registry.mirror(champion="2", previous="1", challengers=["3"], restore=True)
    # The fall begins after 40 hours; the guard sees closes before its hour.
    assert not watch_champion(context, AS_OF + 41 * HOUR).changed
    report = watch_champion(context, NEXT)
    assert report.detail["champion"] == "1"
    assert history(context)[-1] == ("1", "2", "rollback", NEXT)
    assert context.ledger.promotions()[-1].evidence["guard"] == "drawdown"
    (decision,) = list_decisions(context, 9)
    assert (decision["outcome"], decision["version"]) == ("rolled_back", "2")
    before = everything(context)
    assert not watch_champion(context, NEXT).changed
    assert everything(context) == before
    assert context.registry.champion_alias("1") == ("1", False)


def test_a_rollback_is_not_rolled_back_and_a_first_champion_has_nobody_before_it(rivals):
    context = rivals()
    earn(context, "1", np.full(46, -0.01))
    report = watch_champion(context, NEXT)
    (said,) = report.detail["decisions"]
    assert said["outcome"] == "kept"
    assert "there was no champion before it" in said["reason"]
    assert watch_champion(context, NEXT + HOUR).detail["decisions"] == []
    context.ledger.promote(
        "2", effective_from=NEXT + HOUR, kind="hand", reason="r", decided_by="ada"
    )
    context.ledger.promote(
        "1", effective_from=NEXT + 2 * HOUR, kind="rollback", reason="r", decided_by="guard"
    )
    history_ = context.ledger.promotions()
    from evaluation.promotion.guard import Breach
    from pipelines.promotion.guardrails import roll_back

    decision = roll_back(context, history_, Breach("loss", 0.2, 0.1), NEXT + 3 * HOUR)
    assert decision.outcome == "kept"
    assert "version 2 was itself rolled back" in decision.reason


def alarm(context, version):
    row = {
        "model_version": version, "known_at": NOW, "group": "outcomes", "feature": "*",
        "statistic": "page_hinkley", "observed": 9.0, "cut": 4.0, "p_value": 0.001,
        "joint_p": 0.002, "n": 99, "alarm": True, "reason": "9 is above 4", "checked_at": NOW,
    }  # fmt: skip
    frame = pl.DataFrame([row], schema=DRIFT.schema)
    context.lake.replace(DRIFT, frame, start=NOW - HOUR, end=NOW)


def test_an_alarm_on_what_came_of_the_scores_ends_a_reign(rivals):
    context = rivals()
    context.ledger.promote(
        "2", effective_from=AS_OF + HOUR, kind="evidence", reason="better", decided_by="test"
    )
    for version in ("1", "2", "3"):
        earn(context, version, noise(int(version)))
    alarm(context, "2")
    lenient = rivals(promotion__guard__calibration=False)
    assert promote_model(lenient, NOW).detail["outcome"] == "kept"
    report = promote_model(context, NOW)
    assert (report.detail["outcome"], report.detail["version"]) == ("rolled_back", "2")
    assert history(context)[-1] == ("1", "2", "rollback", NEXT)
    before = everything(context)
    assert not promote_model(context, NOW).changed
    assert not watch_champion(context, NEXT).changed
    assert everything(context) == before


def test_where_nobody_can_take_over_from_an_alarmed_champion_a_challenger_still_may(rivals):
    context = rivals()
    a_better_second(context)
    alarm(context, "1")
    report = promote_model(context, NOW)
    said = [(d["version"], d["outcome"]) for d in report.detail["decisions"]]
    assert said == [("1", "kept"), ("3", "kept"), ("2", "promoted")]
    assert "there was no champion before it" in report.detail["decisions"][0]["reason"]
    assert history(context)[-1] == ("2", "1", "evidence", NEXT)


def test_a_person_promotes_and_goes_back_and_is_refused_by_name(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    words = ("I know better", "ada")
    report = change_champion(context, NOW, "promote", "3", *words)
    assert (report.detail["version"], report.detail["effective_from"]) == ("3", "2024-02-01T23:00Z")
    assert not change_champion(context, NOW, "promote", "3", *words).changed
    back = change_champion(context, NOW, "rollback", None, *words)
    assert (back.detail["version"], back.detail["effective_from"]) == ("1", "2024-02-02T00:00Z")
    kinds = [(p["version"], p["kind"], p["decided_by"]) for p in list_promotions(context)]
    assert kinds == [("1", "first", "register"), ("3", "hand", "ada"), ("1", "rollback", "ada")]
    (then,) = list_promotions(context, NEXT)
    assert then["version"] == "3"
    with pytest.raises(ConfigError, match="version '9' is not registered"):
        change_champion(context, NOW, "promote", "9", *words)
    with pytest.raises(ConfigError, match="has no reason"):
        change_champion(context, NOW, "promote", "2", " ", "ada")
    context.ledger.retire_book("model-2", at=NOW, reason="old", decided_by="register")
    with pytest.raises(ConfigError, match=r"refused: .*retired book"):
        change_champion(context, NOW, "promote", "2", *words)
    assert "refused" in {d["outcome"] for d in list_decisions(context, 9)}


def test_a_rollback_that_is_run_again_is_not_taken_back(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    change_champion(context, NOW, "promote", "3", "newer", "ada")
    asked = (context, NOW, "rollback", None, "its fills look wrong", "ada")
    assert change_champion(*asked).changed
    before = everything(context)
    assert not change_champion(*asked).changed
    assert everything(context) == before
    assert change_champion(context, NOW, "promote", "2", "another", "ada").changed
    assert not change_champion(*asked).changed
    assert context.ledger.promotions()[-1].version == "2"


def test_an_hour_traded_while_somebody_is_promoted_stays_whose_it_was(rivals, monkeypatch):
    context = rivals()
    earn(context, "1", noise(1))
    whole = context.ledger.promote

    def while_an_hour_is_traded(version, **how):
        monkeypatch.setattr(context.ledger, "promote", whole)
        empty(context, "equity", "fills", "orders")
        earn(context, "1", noise(1, hours=47))
        return whole(version, **how)

    monkeypatch.setattr(context.ledger, "promote", while_an_hour_is_traded)
    change_champion(context, NOW, "promote", "3", "newer", "ada")
    assert history(context)[-1] == ("3", "1", "hand", NEXT + HOUR)


def test_a_model_that_knows_the_hour_from_its_training_cannot_serve_it(rivals):
    context = rivals()
    refusal = succession.why_it_cannot_serve(context, "2", AS_OF - timedelta(days=3))
    assert refusal is not None
    assert "was trained up to" in refusal
    assert succession.why_it_cannot_serve(context, "2", NOW) is None
    context.lake.set_metadata("features", {"feature_set": "set-2"})
    assert "feature set set-1, built is set-2" in str(
        succession.why_it_cannot_serve(context, "2", NOW)
    )


def test_watching_costs_no_row_where_nothing_happened(rivals):
    context = rivals()
    earn(context, "1", noise(1))
    assert not watch_champion(context, NEXT).changed
    assert list_decisions(context, 9) == []
    assert watch_module.STEP == "watch_champion"


def shadow(context, version, opened_at=AS_OF):
    """Let a version have no book but that it is scored."""
    empty(context, "books")
    for other in {"1", "2", "3"} - {version}:
        open_book(context, other)
    context.ledger.add_shadow(Shadow(version, opened_at, "no place", "register"))


def test_a_shadow_is_scored_and_compared_by_its_losses_alone(rivals):
    context = rivals()
    shadow(context, "3")
    for version in ("1", "2"):
        earn(context, version, noise(int(version)))
    score_bars(context, NOW)
    scored = context.lake.read("scores", start=NOW - HOUR, end=NOW)
    assert set(scored["model_version"]) == {"1", "2", "3"}
    compare_models(context, NOW)
    looks = context.lake.read("comparisons", start=NOW - HOUR, end=NOW)
    assert sorted(looks.select("challenger", "measure").rows()) == [
        ("2", "log_loss"), ("2", "net_return"), ("3", "log_loss"),
    ]  # fmt: skip
    # Outcomes of 46 hours less the horizon are known; it is the first shadow of the reign.
    row = looks.filter(pl.col("challenger") == "3").row(0, named=True)
    assert (row["bars"], row["level"]) == (46 - 12, pytest.approx(0.3 / 2))
    promote_model(context, NOW)
    assert gates(context, "3") == {}
    alone = rivals(books__max_shadows=0)
    score_bars(alone, LATEST)
    newest = alone.lake.read("scores", start=LATEST - HOUR, end=LATEST)
    assert set(newest["model_version"]) == {"1", "2"}


def test_a_shadow_that_cannot_be_scored_stops_nobody(rivals, monkeypatch):
    context = rivals()
    shadow(context, "3")
    whole = context.registry.load

    def load(version):
        if version == "3":
            raise ContractViolation("its files are gone", remedy="train again")
        return whole(version)

    monkeypatch.setattr(context.registry, "load", load)
    score_bars(context, NOW)
    scored = context.lake.read("scores", start=NOW - HOUR, end=NOW)
    assert set(scored["model_version"]) == {"1", "2"}


def test_a_shadow_that_a_person_promotes_has_a_book_from_that_hour_on(rivals):
    context = rivals()
    shadow(context, "3")
    earn(context, "1", noise(1))
    change_champion(context, NOW, "promote", "3", "the newest data", "ada")
    book = next(b for b in context.ledger.books() if b.model_version == "3")
    assert book.opened_at == NOW
    assert context.ledger.champion_at(NEXT) == "3"
    assert not change_champion(context, NOW, "promote", "3", "the newest data", "ada").changed
    roles = {v.version: v.tags["role"] for v in context.registry.versions()}
    assert roles == {"1": "previous", "2": "challenger", "3": "champion"}


def test_a_new_model_waits_for_evidence_to_be_gathered_and_then_takes_the_weakest_place(rivals):
    context = rivals(books__max_challengers=1)
    empty(context, "books")
    for version in ("1", "2"):
        open_book(context, version)
    a_better_second(context, versions=("1", "2"))
    assert admit(context, "3", NOW, "registered") == []
    (standing,) = context.ledger.shadows()
    assert standing.version == "3"
    assert admit(context, "3", NOW, "registered") == []
    assert len(context.ledger.shadows()) == 1
    brisk = rivals(books__max_challengers=1, books__challenger_days=1.0)
    assert [book.name for book in admit(brisk, "3", NOW, "registered")] == ["model-2"]
    assert [b.name for b in brisk.ledger.live_books(NEXT)] == ["model-1", "model-3"]
    assert admit(brisk, "3", NOW, "registered") == []


def test_a_model_trained_for_an_instant_long_past_begins_with_the_hours_to_come(rivals):
    context = rivals()
    empty(context, "books")
    for version in ("1", "2"):
        open_book(context, version)
    earn(context, "1", noise(1))
    admit(context, "3", AS_OF - HOUR, "registered")
    assert {b.model_version: b.opened_at for b in context.ledger.books()}["3"] == NOW
    crowded = rivals(books__max_challengers=1)
    admit(crowded, "4", AS_OF - HOUR, "registered")
    (standing,) = context.ledger.shadows()
    assert (standing.version, standing.opened_at) == ("4", NOW)


def test_a_first_training_that_comes_second_is_a_challenger(rivals):
    context = rivals()
    how = {"kind": "first", "reason": "first", "decided_by": "register"}
    assert not context.ledger.promote("2", effective_from=NEXT, **how)
    assert [promotion.version for promotion in context.ledger.promotions()] == ["1"]


def test_the_book_of_a_deleted_version_is_retired_and_a_champion_among_them_succeeded(rivals):
    context = rivals()
    champion, other = (register_again(context, ending) for ending in ("c", "d"))
    for version in (champion, other):
        open_book(context, version)
    context.ledger.promote(
        champion, effective_from=AS_OF + HOUR, kind="hand", reason="r", decided_by="ada"
    )
    earn(context, "1", noise(1))
    for version in (champion, other):
        context.registry.tracking.client.delete_model_version(context.registry.name, version)
    watch_champion(context, NEXT)
    assert history(context)[-1] == ("1", champion, "succession", NEXT)
    said = {d["version"]: (d["outcome"], d["reason"]) for d in list_decisions(context, 9)}
    assert said == {
        "1": (
            "promoted",
            f"version {champion} was deleted in MLflow; it serves from 2024-02-01T23:00Z",
        ),
        other: ("kept", f"version {other} was deleted in MLflow; its book is retired"),
    }
    retired = {b.model_version: b.retired_at for b in context.ledger.books() if b.retired_at}
    assert retired == {champion: NOW, other: NOW}
    assert context.registry.champion_alias("1") == ("1", False)
    before = everything(context)
    assert not watch_champion(context, NEXT).changed
    assert everything(context) == before
    # The champion before it is gone, and names nobody in MLflow.
    assert (
        "previous"
        not in context.registry.tracking.client.get_registered_model(context.registry.name).aliases
    )
    score_bars(context, NEXT)


def test_a_registry_without_any_of_the_versions_that_trade_is_the_wrong_one(rivals):
    context = rivals()
    wrong = rivals(mlflow__registered_model="another")
    with pytest.raises(ContractViolation, match=r"has none of the versions that trade \(1, 2, 3\)"):
        watch_champion(wrong, NEXT)
    assert [book for book in context.ledger.books() if book.retired_at] == []


def test_a_proposal_without_a_comparison_says_why_and_silence_rejects_it(rivals):
    context = rivals(promotion__required=["bars"])
    earn(context, "1", noise(1), trades=False)
    earn(context, "2", noise(2))
    compare_models(context, NOW)
    report = promote_model(context, NOW, "approve")
    assert report.detail["outcome"] == "proposed"
    text = report.detail["proposal"]
    assert "How much more it earns is not known: the champion's book has no trades." in text
    assert (
        "| evidence | unknown | at least 13.33 | failed, not required "
        "| the champion's book has no trades |"
    ) in text
    said = {d["version"]: d["reason"] for d in report.detail["decisions"]}
    assert said["2"] == "every required gate holds, without an e-value; a person is asked"
    answer = settle_promotion(context, NOW, "2", "Reject", NOBODY)
    assert answer.detail["reason"] == "nobody answered in time"
