"""The daily round over books that traded: the report, and the verification it follows."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from pipelines.context import Context
from pipelines.database import embedded_server
from pipelines.errors import ConfigError, ContractViolation
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.report import curves
from pipelines.settings import Settings, load_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.trade_paper import trade_paper
from pipelines.steps.verify_ledger import verify_ledger
from pipelines.steps.write_report import write_report
from pipelines.tables import INSTANT, QUALITY

# One worker builds the home once.
HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT")


@pytest.fixture(scope="module")
def traded() -> Iterator[Context]:
    """A home whose baselines traded three hours, and in which one check of the last hour failed."""
    with ExitStack() as running:
        folder = running.enter_context(TemporaryDirectory(prefix="hourglass-test-"))
        market = SyntheticMarket(SYMBOLS, seed=7)
        exchange = running.enter_context(running_simulator(market, now=AS_OF))
        keys = {"home": folder, "universe": SYMBOLS, "exchange.base_url": exchange.base_url}
        settings = load_settings(keys, environ={})
        running.callback(embedded_server(settings.home / "postgres").cleanup)
        context = running.enter_context(Context(settings))
        backfill(context, AS_OF - timedelta(days=20), AS_OF)
        build_features(context, AS_OF)
        for hours_before in (2, 1, 0):
            trade_paper(context, AS_OF - hours_before * HOUR)
        _fail_a_check(context)
        yield context


@pytest.fixture(autouse=True)
def _no_report_yet(request: pytest.FixtureRequest) -> None:
    if "traded" in request.fixturenames:
        home = request.getfixturevalue("traded").settings.home
        shutil.rmtree(home / "reports", ignore_errors=True)


def _fail_a_check(context: Context) -> None:
    row = {
        "table": "bars",
        "check": "invented <check>",
        "venue": "binance",
        "symbol": "BTC/USDT",
        "known_at": AS_OF,
        "observed": "7",
        "bound": "at most 6",
        "passed": False,
        "failing_rows": 1,
        "checked_at": AS_OF,
    }
    frame = pl.DataFrame([row], schema=QUALITY.schema)
    where = {"check": [str(row["check"])]}
    context.lake.replace(QUALITY, frame, start=AS_OF - HOUR, end=AS_OF, where=where)


class _Balanced(HTMLParser):
    """Fails on a tag that is not closed in its turn."""

    void = frozenset({"meta", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


def test_the_report_names_every_book_its_trades_and_the_failed_check(traded: Context) -> None:
    report = write_report(traded, AS_OF)
    assert report.changed
    page = (traded.settings.home / "reports" / "2024-06-01.html").read_text()
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    for book in traded.ledger.status(AS_OF)["books"]:
        assert book["book"] in page
        assert f"{book['equity']:,.2f}" in page
    assert page.count("<polyline") == len(traded.settings.books.baselines)
    assert "invented &lt;check&gt;" in page
    assert "balanced, chain intact" in page
    assert re.search(r"<b>[1-9]\d*</b>fills", page)


def test_the_report_says_what_trading_cost_by_notional(traded: Context) -> None:
    write_report(traded, AS_OF)
    page = (traded.settings.home / "reports" / "2024-06-01.html").read_text()
    costs = page.split("<h2>What trading cost</h2>")[1].split("</table>")[0]
    engine = sa.create_engine(traded.databases.ledger, poolclass=sa.NullPool)
    query = sa.text(
        "SELECT f.* FROM fills f JOIN books b USING (book_id) WHERE b.name = 'buy_and_hold'"
    )
    with engine.connect() as connection:
        fills = connection.execute(query).all()
    weights = [float(fill.notional) for fill in fills]
    means = [
        np.average([getattr(fill, name) for fill in fills], weights=weights)
        for name in ("slippage_bps", "spread_bps", "impact_bps", "fee_bps")
    ]
    row = costs.split("<td>buy_and_hold</td>")[1].split("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row) == [
        str(len(fills)),
        *(f"{mean:+.2f}" for mean in means),
    ]
    assert means[3] == pytest.approx(10.0, abs=1e-3)


def test_the_report_needs_nothing_from_elsewhere(traded: Context) -> None:
    write_report(traded, AS_OF)
    page = (traded.settings.home / "reports" / "2024-06-01.html").read_text()
    assert not re.search(r"(src|href)=|@import|url\(|<script", page)


def test_writing_the_report_twice_is_writing_it_once(traded: Context) -> None:
    path = traded.settings.home / "reports" / "2024-06-01.html"
    write_report(traded, AS_OF)
    before = path.read_bytes()
    assert not write_report(traded, AS_OF).changed
    assert path.read_bytes() == before


def test_the_report_of_an_instant_does_not_know_what_came_after(traded: Context) -> None:
    write_report(traded, AS_OF - HOUR)
    page = (traded.settings.home / "reports" / "2024-06-01.html").read_text()
    assert "2024-06-01T14:00Z" not in page
    assert "invented" not in page


def test_before_anything_was_traded_the_report_says_so(settings: Settings) -> None:
    with Context(settings) as context:
        write_report(context, AS_OF)
    page = (settings.home / "reports" / "2024-06-01.html").read_text()
    assert "No book has traded in these days." in page


def test_an_instant_off_the_grid_is_refused(settings: Settings) -> None:
    with Context(settings) as context:
        for step in (write_report, verify_ledger):
            with pytest.raises(ConfigError, match="off the 1h grid"):
                step(context, AS_OF + timedelta(minutes=5))


def test_a_ledger_that_was_changed_outside_the_pipeline_is_refused(traded: Context) -> None:
    assert verify_ledger(traded, AS_OF).detail == {"findings": 0}
    _add_to_cash(traded, 1)
    try:
        with pytest.raises(ContractViolation, match=r"ledger: .*stop trading"):
            verify_ledger(traded, AS_OF)
    finally:
        _add_to_cash(traded, -1)


def _add_to_cash(context: Context, amount: int) -> None:
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        cash = sa.text("UPDATE postings SET amount = amount + :amount WHERE account = 'cash'")
        connection.execute(cash, {"amount": amount})


def test_a_curve_says_first_last_and_worst_fall_on_a_common_scale() -> None:
    start = AS_OF - 4 * HOUR
    rows = [
        *(
            ("a", start + (i + 1) * HOUR, value)
            for i, value in enumerate((100.0, 120.0, 90.0, 110.0))
        ),
        *(("b", start + (i + 1) * HOUR, 100.0) for i in range(4)),
    ]
    schema = {"name": pl.String(), "known_at": INSTANT, "equity": pl.Float64()}
    a, b = curves(pl.DataFrame(rows, schema=schema, orient="row"), start, AS_OF)
    assert (a.first, a.last, a.worst) == (100.0, 110.0, -0.25)
    assert a.change == pytest.approx(0.1)
    # The scale runs from 88.2 (y = 280) to 122.4 (y = 0); an hour is 240 wide.
    assert a.points == "240.0,183.4 480.0,19.6 720.0,265.3 960.0,101.5"
    assert b.points == "240.0,183.4 480.0,183.4 720.0,183.4 960.0,183.4"
    assert (b.change, b.worst) == (0.0, 0.0)
