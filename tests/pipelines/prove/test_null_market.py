"""The null-market proof over a few short lives: what it says, that it repeats, and that it can fail."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.prove.null_agreement import Agreement
from pipelines.prove.null_books import START, books_of, world_of
from pipelines.prove.null_lives import Life, lead, life_config
from pipelines.prove.null_market import NullMarket, difference_of, prove_null_market
from pipelines.prove.null_market_page import write_null_market
from pipelines.prove.null_reigns import Course, Promoted
from pipelines.settings import Settings, load_settings

# Verdicts that take weeks, and models of two months: lives of a second.
LOOSE = {
    "training.split.train_days": 60,
    "comparison.level": 0.9,
    "comparison.block_hours": 6,
    "comparison.minimum_blocks": 8,
    "comparison.scale_blocks": 4,
    "promotion.required": ["evidence", "log_loss", "bars"],
    "promotion.bars": 240,
}
# Whoever has a bar becomes champion.
ALWAYS = LOOSE | {"comparison.level": 0.05, "promotion.required": ["bars"], "promotion.bars": 1}


@pytest.fixture
def loose(home: Path) -> Settings:
    return load_settings({"home": str(home), **LOOSE}, environ={})


@pytest.fixture
def proof_of(loose: Settings) -> Callable[..., NullMarket]:
    """`proof_of(lives, with_a_promotion)`: a proof as it would be had of so many lives."""

    def make(lives: int, promoted: int, *agreements: Agreement) -> NullMarket:
        config = life_config(load_settings({}, environ={}), 360)
        none = Course((), None, None, 50, 0.01)
        false = replace(none, promotions=(Promoted(200, "3", 90.0),), better_day=200)
        found = tuple(Life(n, 0.0, false if n < promoted else none, 9.0, 2.5) for n in range(lives))
        seen = tuple(replace(life, signal=0.4, course=false) for life in found[:6])
        return NullMarket(7, config, found, seen, agreements, 60.0)

    return make


def test_a_life_is_a_function_of_seed_and_number(loose: Settings) -> None:
    config = life_config(loose, 30)
    one, again, other = (lead(7, config, (number, 0.0)) for number in (3, 3, 4))
    assert (one.course, one.fills_a_day) == (again.course, again.fills_a_day)
    assert one.course.mean_difference != other.course.mean_difference
    assert one.fills_a_day > 1.0


def test_books_trade_from_their_opening_and_the_champion_knows_no_signal(loose: Settings) -> None:
    config = life_config(loose, 30)
    (champion, *others), blind = books_of(7, 1, 0.4, config), books_of(7, 1, 0.0, config)
    assert [book.book.opened_at for book in others] == [
        START + 5 * n * (others[0].book.opened_at - START) / 5 for n in range(1, 6)
    ]
    assert [book.known_at.size for book in (champion, *others)] == [
        24 * d for d in range(30, 0, -5)
    ]
    assert all(book.equity[0] == 100_000.0 and book.fills[0] > 0 for book in others)
    # Its model is that of the life without signal: the same noise, another market to trade.
    assert not np.array_equal(champion.equity, blind[0].equity)
    bars = world_of(7, 1, 0.0, config).bars
    assert bars["known_at"].min() < START < bars["known_at"].max()  # type: ignore[operator]


@pytest.mark.long
def test_power_rises_with_the_dial(loose: Settings) -> None:
    with Context(loose) as context:
        proof = prove_null_market(
            context, lives=1, days=60, signals=(0.4, 0.2), power_lives=3, full_lives=0, workers=1
        )
    weak, strong = proof.power
    assert (weak.signal, strong.signal) == (0.2, 0.4)
    assert (strong.promoted, strong.lives) == (3, 3)
    assert weak.promoted < strong.promoted
    assert strong.median_days is not None
    assert 10 <= strong.median_days < 60


def test_a_rule_that_always_promotes_leaves_with_three(home: Path, tmp_path: Path) -> None:
    sets = [f"--set={key}={json.dumps(value)}" for key, value in ALWAYS.items()]
    words = ["prove", "null-market", "--lives=1", "--days=30", "--signal=0", "--full-lives=0"]
    answer = CliRunner().invoke(
        app, [*words, f"--home={home}", f"--report={tmp_path}", "--json", *sets]
    )
    told = json.loads(answer.stdout)
    assert answer.exit_code == 3, answer.output
    assert set(told) == {"passed", "report", "summary"}
    assert told["passed"] is False
    assert told["summary"] == {
        "lives": 1, "false_promotions": 1, "level": 0.05, "upper95": 1.0, "power": [],
    }  # fmt: skip
    found = json.loads(Path(told["report"]).with_suffix(".json").read_text())
    assert found["checks"][0]["name"] == "false promotions"
    assert found["checks"][0]["holds"] is False
    assert found["lives"][0]["promotions"][0]["day"] == 6


def test_few_false_promotions_hold_and_many_do_not(proof_of: Callable[..., NullMarket]) -> None:
    assert [proof_of(200, hits).passed for hits in (0, 5, 9, 10, 40)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    summary = proof_of(200, 1).summary
    assert (summary["lives"], summary["false_promotions"], summary["level"]) == (200, 1, 0.05)
    assert summary["upper95"] == pytest.approx(0.0235, abs=1e-4)
    assert summary["power"][0]["power"] == 1.0


def test_a_rule_that_never_promotes_fails_where_there_is_a_signal(
    proof_of: Callable[..., NullMarket],
) -> None:
    proof = proof_of(200, 0)
    blind = tuple(
        replace(life, course=replace(life.course, promotions=())) for life in proof.powered
    )
    assert proof.passed
    assert not replace(proof, powered=blind).passed


@pytest.mark.parametrize(("lives", "holds"), [(9, True), (10, False)])
def test_of_a_handful_of_lives_the_naive_rule_is_told_and_not_asked(
    proof_of: Callable[..., NullMarket], lives: int, holds: bool
) -> None:
    proof = proof_of(lives, 0)
    calm = tuple(replace(life, course=replace(life.course, naive_day=None)) for life in proof.lives)
    assert replace(proof, lives=calm).passed is holds


def test_a_shortcut_that_is_not_the_pipeline_fails(proof_of: Callable[..., NullMarket]) -> None:
    same = Agreement(hours=96, equity_points=300, comparisons=10, gates=30)
    assert proof_of(200, 1, same).passed
    other = replace(same, differences=["day 3, version 2, net_return bars: 71 and, in one go, 72"])
    assert not proof_of(200, 1, other).passed


def test_the_report_shows_curve_counts_and_differences(
    proof_of: Callable[..., NullMarket], tmp_path: Path
) -> None:
    other = Agreement(promotions=[(4, "2")], differences=["version 2, gate bars: 1 and 2"])
    page = write_null_market(proof_of(40, 2, other), tmp_path).read_text()
    for words in ("The proof failed", "<svg", "median days", "version 2 on day 4", "gate bars"):
        assert words in page
    told = json.loads((tmp_path / "null_market.json").read_text())
    assert told["summary"]["false_promotions"] == 2
    assert len(told["lives"]) == 46
    assert told["null"]["lead"] == pytest.approx(difference_of(proof_of(40, 2).lives)[0])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lives": 0}, "0 lives prove nothing"),
        ({"days": 20}, "a life of 20 days is shorter than 30"),
        ({"signals": (0.7,)}, "signal 0.7 is not above 0"),
    ],
)
def test_what_proves_nothing_is_refused(
    loose: Settings, asked: dict[str, object], message: str
) -> None:
    with Context(loose) as context, pytest.raises(ConfigError, match=message):
        prove_null_market(context, **asked)  # type: ignore[arg-type]
