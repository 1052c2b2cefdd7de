"""`hourglass backtest` over a trained home: honest scores only, many configurations, reports."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.backtests import Extras, Request, build_variants, run_backtests
from pipelines.backtests.scores import Scored, scores_of
from pipelines.backtests.span import Span, read_span
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.steps.score_bars import score_bars

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
LATEST = AS_OF + timedelta(days=2)
# Two test windows of four days end one horizon of twelve hours before the training.
TESTED = AS_OF - timedelta(days=8, hours=12)
CLOSING = AS_OF - 12 * HOUR
SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT")


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    """A venue that is asked for its filters only."""
    with running_simulator(SyntheticMarket(SYMBOLS, seed=7), now=LATEST) as simulator:
        yield simulator.base_url


@pytest.fixture
def opened(trained, venue: str, tmp_path: Path) -> Iterator[Callable[..., Context]]:
    """`opened(**settings)`: the trained world over a copy of its lake."""
    world, _ = trained
    copy = tmp_path / "lake"
    shutil.copytree(world.settings.home / "lake", copy)
    contexts: list[Context] = []

    def make(**overrides: Any) -> Context:
        keys = {"lake__uri": str(copy), "exchange__base_url": venue, "risk__ramp_start": 1.0}
        contexts.append(world.open(**{**keys, **overrides}))
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


def quiet(done: int, total: int, text: str) -> None:
    """Progress nobody watches."""


def span_of(context: Context, start: datetime, end: datetime) -> Span:
    return read_span(context, start, end, history_bars=0)


def scored(context: Context, start: datetime, end: datetime, *, allow: bool = False) -> Scored:
    return scores_of(
        context, "1", span_of(context, start, end), allow_in_sample=allow, progress=quiet
    )


def ask(context: Context, *models: str, **options: Any) -> dict[str, Any]:
    sweeps = options.pop("sweeps", ())
    keys = {"start": TESTED, "end": LATEST, "reported": False, **options}
    variants = tuple(build_variants(context.settings, sweeps=sweeps))
    return run_backtests(context, Request(models=models, variants=variants, **keys), quiet)


def test_a_span_inside_the_training_is_refused_with_the_first_admissible_start(opened) -> None:
    context = opened()
    with pytest.raises(ContractViolation) as refusal:
        scored(context, START + timedelta(days=10), LATEST)
    told = str(refusal.value)
    # Ten days and twelve hours of bars lie before the test windows.
    assert "model version 1 was fitted on bars up to 2024-01-31T00:00Z" in told
    assert "no out-of-fold scores of 276 bars" in told
    assert "2024-01-11T01:00Z to 2024-01-22T12:00Z" in told
    assert "the first admissible start is 2024-01-22T12:00Z" in told
    assert "--start 2024-01-22T12:00Z or later, or --allow-in-sample" in refusal.value.remedy


def test_a_span_before_all_test_windows_is_told_to_end_later_too(opened) -> None:
    with pytest.raises(ContractViolation) as refusal:
        scored(opened(), START + timedelta(days=5), START + timedelta(days=9))
    assert "and --end after it, not 2024-01-10T00:00Z" in refusal.value.remedy


def test_test_windows_are_traded_on_the_scores_they_were_given(opened) -> None:
    context = opened()
    found = scored(context, TESTED, CLOSING)
    stored = context.lake.read("out_of_fold_scores", start=TESTED, end=CLOSING)
    assert found.scores.height == stored.height == 3 * 8 * 24
    assert found.scores["expected_return"].to_list() == stored["expected_return"].to_list()
    assert (found.in_sample, found.notes) == (None, ())


def test_the_last_horizon_of_the_training_is_left_unscored_and_said(opened) -> None:
    found = scored(opened(), TESTED, AS_OF)
    assert found.scores["known_at"].max() == CLOSING
    assert found.notes == (
        "12 bars up to 2024-01-31T00:00Z are in labels of the training's last horizon: the version "
        "says nothing of them",
    )


def test_bars_after_the_training_are_scored_as_the_hour_would_have_been(opened) -> None:
    context = opened()
    told: list[tuple[int, int, str]] = []
    span = span_of(context, AS_OF, AS_OF + 6 * HOUR)
    ahead = scores_of(
        context, "1", span, allow_in_sample=False, progress=lambda *at: told.append(at)
    )
    assert told == [(1, 1, "scored 18 bars by version 1")]
    assert score_bars(context, AS_OF + 6 * HOUR).detail["rows"] == 18
    columns = ["symbol", "known_at", "expected_return", "horizon_bars"]
    lived = context.lake.read("scores", end=LATEST).select(columns).sort("symbol", "known_at")
    assert ahead.scores.select(columns).sort("symbol", "known_at").equals(lived)
    told.clear()
    again = scores_of(
        context, "1", span, allow_in_sample=False, progress=lambda *at: told.append(at)
    )
    assert told == []
    assert again.scores.select(columns).sort("symbol", "known_at").equals(lived)


def test_in_sample_bars_are_scored_only_if_allowed_and_then_stamped(opened) -> None:
    context = opened()
    start = TESTED - 24 * HOUR
    found = scored(context, start, CLOSING, allow=True)
    assert found.in_sample == (start + HOUR, TESTED)
    own = found.scores.filter(pl.col("known_at") > TESTED)
    assert own.equals(scored(context, TESTED, CLOSING).scores.sort("symbol", "known_at"))
    answer = ask(context, "1", start=start, end=CLOSING, allow_in_sample=True)
    assert answer["in_sample"] == {
        "model-1": {"first": "2024-01-21T13:00Z", "last": "2024-01-22T12:00Z"}
    }
    assert answer["notes"][0].startswith("IN-SAMPLE: model-1 was fitted on bars it trades here")
    assert answer["runs"][0]["in_sample"] == answer["in_sample"]["model-1"]
    honest = scored(context, TESTED, CLOSING, allow=True)
    assert honest.in_sample is None


def test_features_of_another_set_are_not_scored(opened) -> None:
    context = opened()
    context.lake.set_metadata("features", {"feature_set": "set-2"})
    with pytest.raises(ContractViolation, match="48 bars are not scored: version 1 was fitted on"):
        scored(context, AS_OF, LATEST)
    found = scored(context, TESTED, LATEST)
    assert found.scores["known_at"].max() == CLOSING
    assert any("48 bars are not scored" in note for note in found.notes)


def test_a_backtest_of_one_model_explains_itself(opened) -> None:
    answer = ask(opened(), "champion")
    assert list(answer)[:8] == [
        "id", "start", "end", "symbols", "in_sample", "notes", "report", "runs"
    ]  # fmt: skip
    assert (answer["model"], answer["strategy"]) == ("1", "model")
    assert (answer["start"], answer["end"]) == ("2024-01-22T12:00Z", "2024-02-02T00:00Z")
    assert answer["symbols"] == list(SYMBOLS)
    counts = answer["waterfall"]
    assert counts["bars"] == 3 * 252
    # The last horizon of the training is not scored.
    assert counts["scored"] == 3 * (252 - 12)
    assert answer["fills"] == answer["metrics"]["fills"]
    assert {"orders", "risk_events", "trades", "explanation", "config"} <= set(answer)
    assert f"{counts['scored']:,}" in answer["explanation"] or "Nothing" in answer["explanation"]
    assert answer["runs"][0]["total_return"] == answer["metrics"]["total_return"]
    json.dumps(answer, allow_nan=False)


def test_many_models_and_configurations_are_one_table_by_net_return(opened, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    answer = ask(
        opened(), "1", "ema_crossover", "buy_and_hold",
        sweeps=["risk.kelly_fraction=0.05,0.25,1", "costs.taker_fee_rate=0,0.001"],
        reported=True, report=folder,
    )  # fmt: skip
    runs = answer["runs"]
    assert len(runs) == 18
    net = [run["total_return"] for run in runs]
    assert net == sorted(net, reverse=True)
    assert len({run["name"] for run in runs}) == 18
    free = next(
        r
        for r in runs
        if r["name"].endswith("buy_and_hold risk.kelly_fraction=1 costs.taker_fee_rate=0")
    )
    assert free["overrides"] == {"risk.kelly_fraction": "1", "costs.taker_fee_rate": "0"}
    assert free["fees"] == 0.0
    stored = json.loads((folder / "backtest.json").read_text())
    assert stored["runs"] == runs
    with (folder / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [run["name"] for run in runs]
    assert [float(row["total_return"]) for row in rows] == net
    assert sorted(p.name for p in folder.iterdir()) == ["backtest.json", "runs.csv"]


def test_of_several_explained_runs_each_has_a_folder_of_its_own(opened, tmp_path: Path) -> None:
    folder = tmp_path / "several"
    answer = ask(
        opened(), "1", "buy_and_hold", extras=Extras(monte_carlo=50), reported=True, report=folder
    )
    assert "metrics" not in answer
    names = [run["name"] for run in answer["runs"]]
    assert sorted(names) == ["buy_and_hold", "model-1"]
    for number, name in enumerate(names, 1):
        own = folder / f"{number:02d}-{name.replace('_', '-')}"
        told = json.loads((own / "backtest.json").read_text())
        assert told["monte_carlo"]["paths"] == 50
        assert told["metrics"]["total_return"] == answer["runs"][number - 1]["total_return"]
        sheet = json.loads((own / "tear_sheet.json").read_text())
        assert sheet["metrics"]["trials"] == 2
        assert sheet["title"].startswith(name)


def test_a_search_and_an_explained_run_say_the_same(opened) -> None:
    context = opened()
    thirteen = ",".join(str(round(0.05 + 0.01 * n, 2)) for n in range(13))
    searched = ask(context, "1", sweeps=[f"risk.kelly_fraction={thirteen}"])
    explained = ask(context, "1", sweeps=["risk.kelly_fraction=0.05,0.06"])
    rows = {run["name"]: run for run in searched["runs"]}
    for run in explained["runs"]:
        other = rows[run["name"]]
        for figure in ("total_return", "annual_return", "sharpe", "max_drawdown", "turnover"):
            assert other[figure] == pytest.approx(run[figure], abs=1e-9), figure
        assert other["fees"] == pytest.approx(run["fees"])


def test_reports_are_the_same_files_when_asked_again(opened) -> None:
    context = opened()
    answer = ask(context, "1", start=TESTED, end=AS_OF, reported=True, allow_in_sample=True)
    folder = Path(answer["report"])
    assert folder == context.settings.home / "reports" / "backtests" / answer["id"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"backtest.json", "runs.csv", "tear_sheet.html", "tear_sheet.json"}
    assert ask(context, "1", start=TESTED, end=AS_OF, reported=True, allow_in_sample=True) == answer
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other = ask(context, "1", start=TESTED, end=AS_OF - HOUR)
    assert other["id"] != answer["id"]


def test_every_examination_is_in_the_answer_and_on_the_sheet(opened, tmp_path: Path) -> None:
    answer = ask(
        opened(), "1", extras=Extras(monte_carlo=200, stress=True, sensitivity=True, capacity=True),
        reported=True, report=tmp_path / "r", formats=("json",),
    )  # fmt: skip
    assert answer["monte_carlo"]["paths"] == 200
    assert set(answer["monte_carlo"]["fan"][0]) == {"step", "p05", "p25", "p50", "p75", "p95"}
    assert {row["parameter"] for row in answer["sensitivity"]} >= {"kelly_fraction"}
    assert len(answer["sensitivity_grid"]) >= 16
    assert [row["multiple"] for row in answer["cost_sensitivity"]] == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    assert [row["multiple"] for row in answer["same_trades"]] == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    assert "break_even_cost_multiple" in answer
    assert answer["capacity"][0]["capital"] == 100_000.0
    assert all(row["name"].startswith("worst week") for row in answer["stress"])
    sheet = json.loads((tmp_path / "r" / "tear_sheet.json").read_text())
    assert sheet["sections"]["monte_carlo"]
    assert sheet["sections"]["sensitivity"]
    assert sheet["sections"]["capacity"]


def test_a_record_too_short_to_be_resampled_says_so(opened) -> None:
    answer = ask(opened(), "1", end=TESTED + 5 * HOUR, extras=Extras(monte_carlo=10, stress=True))
    assert "monte_carlo" not in answer
    assert "needs 8 bar returns or more" in answer["not_examined"]
    assert answer["stress"] == []


def test_what_cannot_be_meant_is_refused_before_anything_is_traded(opened) -> None:
    context = opened()
    with pytest.raises(ConfigError, match="'hold' is neither champion"):
        ask(context, "hold")
    with pytest.raises(ConfigError, match=r"is empty"):
        ask(context, "1", start=LATEST, end=TESTED)
    with pytest.raises(ConfigError, match="--format 'docx' is not known"):
        ask(context, "1", formats=("docx",))
    many = [f"risk.max_positions={','.join(str(n) for n in range(1, 14))}"]
    with pytest.raises(ConfigError, match="13 backtests with examinations of each; the bound is"):
        ask(context, "1", sweeps=many, extras=Extras(stress=True))
    with pytest.raises(ConfigError, match="negative"):
        ask(context, "1", extras=Extras(monte_carlo=-1))
    with pytest.raises(ContractViolation, match="no version 99"):
        ask(context, "99")
    with pytest.raises(ContractViolation, match="no bar is known"):
        ask(context, "1", start=LATEST, end=LATEST + HOUR)


def test_a_symbol_the_lake_has_never_seen_is_refused_with_the_nearest(opened) -> None:
    context = opened(universe=["AAA/USDT", "BBC/USDT"])
    with pytest.raises(ConfigError, match="no bar of BBC/USDT on binance") as refusal:
        ask(context, "buy_and_hold")
    assert refusal.value.remedy == "did you mean BBB/USDT?"
