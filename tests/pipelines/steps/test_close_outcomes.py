"""Scores of models whose label is known, closed when their horizon is over."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.cli import main
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.outcome_list import list_outcomes
from pipelines.settings import load_settings
from pipelines.steps.close_outcomes import close_outcomes
from pipelines.tables import BARS, OUTCOMES, SCORES, features_table
from training.config import LabelConfig

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 3, tzinfo=UTC)
RUN_UP = 10
HOURS = 200
HORIZON = 4
END = START + HOURS * HOUR
SYMBOLS = ("BTC/USDT", "ETH/USDT")
FIXED = LabelConfig(kind="fixed_horizon", horizon_bars=HORIZON, volatility_window=6)
BARRIERS = LabelConfig(horizon_bars=HORIZON, volatility_window=6)
FLAGS = ["regime_calm", "regime_range", "regime_bull", "regime_bear", "regime_storm"]


class Registered:
    """Says of versions which label they foresee; their trainings' plans are not kept."""

    def __init__(self, labels: dict[str, LabelConfig]) -> None:
        self.labels = labels
        self.tracking = SimpleNamespace(run_of=lambda training_id: None)

    def version_info(self, version: str) -> Any:
        if version not in self.labels:
            raise ContractViolation(f"model hourglass has no version {version}", remedy="none")
        tags = {"label": self.labels[version].model_dump_json()}
        return SimpleNamespace(version=version, training_id="t", tags=tags)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def context(home: Path, postgres: str, ledger_url: str) -> Iterator[Context]:
    assert ledger_url
    keys = {"home": str(home), "database_url": postgres, "universe": list(SYMBOLS)}
    with Context(load_settings(keys, environ={})) as context:
        context.__dict__["registry"] = Registered({"1": FIXED, "2": BARRIERS})
        yield context


@pytest.fixture
def bars(random_bars: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    first = START - RUN_UP * HOUR
    return random_bars(SYMBOLS, start=first, hours=HOURS + RUN_UP)


def put(context: Context, bars: pl.DataFrame, *versions: str) -> None:
    context.lake.replace(BARS, bars, start=START - RUN_UP * HOUR, end=END)
    scores = pl.concat(said(bars, version) for version in versions or ("1",))
    context.lake.replace(SCORES, scores, start=START - HOUR, end=END)


def said(bars: pl.DataFrame, version: str) -> pl.DataFrame:
    """Scores of every bar from START on that expect a different return every hour."""
    keys = bars.filter(pl.col("known_at") >= START).select("venue", "symbol", "known_at")
    expected = np.sin(np.arange(keys.height)) * 0.01
    columns = {"p_down": 0.2, "p_flat": 0.3, "p_up": 0.5, "horizon_bars": HORIZON}
    return keys.with_columns(
        model_version=pl.lit(version),
        expected_return=pl.Series(expected),
        lower=pl.Series(expected - 0.02),
        upper=pl.Series(expected + 0.02),
        **{name: pl.lit(value) for name, value in columns.items()},
    ).select(SCORES.empty().columns).cast(dict(SCORES.schema))  # fmt: skip


def closed(context: Context, end: datetime = END) -> pl.DataFrame:
    return context.lake.read("outcomes", end=end)


def test_a_pair_is_closed_at_the_end_of_its_horizon_with_the_return_its_model_foresaw(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars)
    report = close_outcomes(context, END)
    rows = closed(context)
    # The last scores whose horizon is over are those of four hours ago.
    assert rows.height == report.detail["closed"] == 2 * (HOURS - HORIZON + 1)
    assert rows["scored_at"].max() == END - HORIZON * HOUR
    assert (rows["known_at"] == rows["scored_at"] + HORIZON * HOUR).all()
    assert rows["outcome"].null_count() == report.detail["not_measurable"] == 0
    price = {(s, at): (o, c) for s, at, o, c in bars.select("symbol", "known_at", "open", "close").rows()}  # fmt: skip
    for row in rows.to_dicts()[::29]:
        entry = price[row["symbol"], row["scored_at"] + HOUR][0]
        leave = price[row["symbol"], row["known_at"]][1]
        assert row["realised_return"] == pytest.approx(np.log(leave / entry), abs=1e-12)
        assert row["outcome"] == 1 or (row["outcome"] == 2) == (row["realised_return"] > 0)
    columns = SCORES.empty().columns
    scored = context.lake.read("scores", end=END - HORIZON * HOUR)
    told = rows.drop("known_at").rename({"scored_at": "known_at"}).select(columns)
    assert told.sort(columns).equals(scored.sort(columns))


def test_a_barrier_that_is_touched_early_closes_no_pair_early(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, "2")
    close_outcomes(context, START + (HORIZON - 1) * HOUR)
    assert closed(context).is_empty()
    close_outcomes(context, START + HORIZON * HOUR)
    rows = closed(context)
    assert rows["scored_at"].unique().to_list() == [START]
    assert rows["outcome"].is_not_null().all()


def test_closing_twice_is_closing_once_and_in_any_order(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, "1", "2")
    for hours in (30, 31, 90, HOURS):
        close_outcomes(context, START + hours * HOUR)
    rows, version = closed(context), context.lake.version("outcomes")
    page = Path(close_outcomes(context, END).detail["path"])
    whole = page.read_bytes()
    assert not close_outcomes(context, END).changed
    close_outcomes(context, START + 50 * HOUR)
    assert context.lake.version("outcomes") == version
    assert page.read_bytes() == whole
    # Months late, and all at once, it is the same.
    context.lake.replace(OUTCOMES, rows.clear(), start=START - HOUR, end=END)
    assert close_outcomes(context, END).detail["closed"] == rows.height
    assert closed(context).equals(rows)


def test_what_came_later_changes_nothing_that_was_closed(
    context: Context, bars: pl.DataFrame
) -> None:
    early = START + 60 * HOUR
    put(context, bars.filter(pl.col("known_at") <= early))
    close_outcomes(context, early)
    before = closed(context)
    put(context, bars)
    close_outcomes(context, END)
    assert closed(context, early).equals(before)
    assert closed(context).height > before.height


def test_a_gap_is_closed_with_its_reason_and_mended_once_the_bars_are_there(
    context: Context, bars: pl.DataFrame
) -> None:
    lost = (pl.col("symbol") == "BTC/USDT") & (pl.col("known_at") == START + 20 * HOUR)
    put(context, bars.filter(~lost))
    first = close_outcomes(context, END)
    rows = closed(context)
    missing = rows.filter(pl.col("outcome").is_null())
    # Every horizon that the hour is in, and every window of six returns that one of it is missing in.
    reasons = missing.select("scored_at", pl.col("reason").str.slice(0, 14)).rows()
    assert reasons == [
        *((START + h * HOUR, "the bar of its") for h in range(16, 20)),
        *((START + h * HOUR, "the volatility") for h in range(21, 27)),
    ]
    assert missing["symbol"].unique().to_list() == ["BTC/USDT"]
    assert missing["realised_return"].null_count() == first.detail["not_measurable"] == 10
    context.lake.replace(BARS, bars, start=START - RUN_UP * HOUR, end=END)
    assert close_outcomes(context, END).detail == first.detail | {"closed": 0, "not_measurable": 0}
    mended = closed(context)
    assert mended["outcome"].null_count() == mended["reason"].count() == 0
    assert mended.join(missing, on=["symbol", "scored_at"], how="anti").equals(
        rows.filter(pl.col("outcome").is_not_null())
    )


def test_a_gap_that_is_mended_too_late_stays_as_it_was_closed(
    context: Context, bars: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.steps.close_outcomes._LOOKED_BACK", 60 * HOUR)
    lost = [START + 20 * HOUR, END - 20 * HOUR]
    put(context, bars.filter(~pl.col("known_at").is_in(lost)))
    close_outcomes(context, END)
    before = closed(context).filter(pl.col("outcome").is_null())
    context.lake.replace(BARS, bars, start=START - RUN_UP * HOUR, end=END)
    close_outcomes(context, END)
    after = closed(context).filter(pl.col("outcome").is_null())
    assert before["known_at"].max() > END - 60 * HOUR
    assert after.equals(before.filter(pl.col("known_at") <= END - 60 * HOUR))


def test_a_restated_bar_is_followed_while_it_is_young_and_not_later(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars)
    close_outcomes(context, END)
    before = closed(context)
    moved = pl.col("close").mul(1.001).alias("close"), pl.col("high").mul(1.002).alias("high")
    for age, followed in ((10, True), (100, False)):
        at = END - age * HOUR
        touched = pl.when(pl.col("known_at") == at)
        restated = bars.with_columns(touched.then(e).otherwise(pl.col(n)).alias(n) for e, n in zip(moved, ("close", "high"), strict=True))  # fmt: skip
        context.lake.replace(BARS, restated, start=START - RUN_UP * HOUR, end=END)
        close_outcomes(context, END)
        now, then = (
            frame.filter(pl.col("known_at") == at)["realised_return"].to_numpy()
            for frame in (closed(context), before)
        )
        np.testing.assert_allclose(now - then, np.log(1.001) * followed, atol=1e-12)


def test_a_version_that_nobody_knows_is_closed_without_an_outcome(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, "1", "9")
    close_outcomes(context, START + 10 * HOUR)
    rows = closed(context).filter(pl.col("model_version") == "9")
    assert rows["reason"].unique().to_list() == [
        "what it foresaw is not known: model hourglass has no version 9"
    ]
    assert rows["outcome"].null_count() == rows.height == 14
    assert closed(context).filter(pl.col("model_version") == "1")["reason"].null_count() == 14


def test_the_state_of_the_market_at_the_score_is_kept(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars)
    keys = bars.filter(pl.col("known_at") >= START).select("venue", "symbol", "known_at")
    state = np.arange(keys.height) % 6
    flags = [np.where(state == 5, None, (state == k).astype(float)) for k in range(5)]
    features = keys.with_columns(
        pl.Series(name, values.tolist(), dtype=pl.Float32)
        for name, values in zip(FLAGS, flags, strict=True)
    )
    context.lake.replace(features_table(FLAGS), features, start=START - HOUR, end=END)
    close_outcomes(context, END)
    rows = closed(context).sort("symbol", "scored_at")
    names = np.array(["calm", "range", "bull", "bear", "storm", None])[state]
    expected = keys.with_columns(regime=pl.Series(names.tolist(), dtype=pl.String))
    met = rows.join(expected, left_on=["symbol", "scored_at"], right_on=["symbol", "known_at"])
    assert met["regime"].equals(met["regime_right"])
    assert met["regime"].n_unique() == 6


class _Reader(HTMLParser):
    """Fails on a tag that is not closed in its turn; keeps what is drawn and what is asked for."""

    void = frozenset({"meta", "line", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


def test_the_page_draws_every_model_and_asks_nobody(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, "1", "2", "9")
    context.ledger.promote(
        "2", effective_from=START, kind="manual", reason="<first>", decided_by="test"
    )
    path = Path(close_outcomes(context, END).detail["path"])
    assert path == context.settings.home / "reports" / "outcomes" / "2024-06-11.html"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    page = path.read_text(encoding="utf-8")
    reader = _Reader(page)
    assert reader.outside == []
    assert "url(" not in page
    # Two clouds, three lines of weeks, one calibration.
    assert reader.tags.count("svg") == 6
    assert "Predicted against realised returns of model 1" in page
    assert "2, champion" in page
    assert "model hourglass has no version 9" in page
    assert "No book has traded yet." in page


def test_before_anything_was_scored_the_page_says_so(context: Context) -> None:
    report = close_outcomes(context, START)
    assert (report.changed, report.detail["closed"]) == (True, 0)
    page = Path(report.detail["path"]).read_text(encoding="utf-8")
    _Reader(page)
    assert "No pair was closed in these weeks." in page
    assert not close_outcomes(context, START).changed


def test_an_instant_off_the_grid_is_refused(context: Context) -> None:
    with pytest.raises(ConfigError, match="off the 1h grid"):
        close_outcomes(context, START + timedelta(minutes=5))


@pytest.fixture
def call(
    context: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("HOURGLASS_HOME", str(context.settings.home))
    monkeypatch.setenv("HOURGLASS_DATABASE_URL", str(context.settings.database_url))

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        told = capfd.readouterr()
        return int(str(left.value.code)), told.out, told.err

    return run


def test_the_verb_shows_errors_by_any_group(
    context: Context, bars: pl.DataFrame, call: Callable[..., tuple[int, str, str]]
) -> None:
    code, told, _ = call("close-outcomes", "--as-of", START.isoformat(), "--json")
    assert (code, json.loads(told)["detail"]["closed"]) == (0, 0)
    put(context, bars, "1", "2")
    close_outcomes(context, END)
    at = ("--as-of", END.isoformat())
    listed = json.loads(call("outcomes", *at, "--by", "symbol,week", "--model", "1", "--json")[1])
    assert listed == list_outcomes(context, END, ["symbol", "week"], "1")
    assert [(row["symbol"], row["week"]) for row in listed] == [
        (symbol, week) for symbol in SYMBOLS for week in ("2024-06-03", "2024-06-10")
    ]
    assert sum(row["n"] for row in listed) == 2 * (HOURS - HORIZON + 1)
    early = json.loads(
        call("outcomes", "--as-of", (START + HORIZON * HOUR).isoformat(), "--json")[1]
    )
    assert [(row["model"], row["n"]) for row in early] == [("1", 2), ("2", 2)]
    shown = call("outcomes", *at)[1]
    assert "interval coverage" in shown
    assert call("outcomes", *at, "--by", "hour")[0] == 2
    code, _, error = call("outcomes", *at, "--model", "7", "--json")
    assert (code, json.loads(error.splitlines()[-1])["remedy"].split(";")[0]) == (
        2,
        "closed are those of 1, 2",
    )
