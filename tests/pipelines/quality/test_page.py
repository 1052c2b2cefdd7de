from datetime import UTC, datetime, timedelta

import polars as pl

from pipelines.quality.page import DAYS, histories, render
from pipelines.tables import QUALITY, QUARANTINE

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)


def checks(*rows):
    names = ["check", "symbol", "known_at", "observed", "passed"]
    given = {
        "table": "bars",
        "venue": "binance",
        "bound": "a bound",
        "failing_rows": 0,
        "checked_at": AS_OF,
    }
    rows = [{**given, **dict(zip(names, row, strict=True))} for row in rows]
    return pl.DataFrame(rows, schema=QUALITY.schema)


def test_runs_are_counted_by_day_and_the_newest_is_told():
    found = histories(
        checks(
            ("jump", "*", AS_OF - timedelta(days=1), "10 of 10 symbols", True),
            ("jump", "*", AS_OF, "9 of 10 symbols", False),
            ("jump", "BTC/USDT", AS_OF, "log return +0.2", False),
            ("late", "*", AS_OF - timedelta(days=2, hours=1), "x", True),
        ),
        AS_OF,
    )
    assert [(h.check, h.passed) for h in found] == [("jump", False), ("late", True)]
    assert len(found[0].days) == DAYS
    assert found[0].days[-2:] == (("2024-05-31", 1, 0), ("2024-06-01", 1, 1))


def test_the_page_stands_alone_and_escapes_what_venues_send():
    refused = pl.DataFrame(
        {
            "venue": ["binance"],
            "symbol": ["<script>alert(1)</script>"],
            "known_at": [AS_OF],
            "table": ["bars"],
            "reason": ["close [quote] is not > 0"],
            "row": ['{"close":-1}'],
            "quarantined_at": [AS_OF],
        },
        schema=QUARANTINE.schema,
    )
    page = render(checks(("jump", "BTC/USDT", AS_OF, "odd & even", False)), refused, AS_OF)
    assert "<script>" not in page
    assert "odd &amp; even" in page
    assert "src=" not in page
    assert "https:" not in page
    assert "prefers-color-scheme: dark" in page


def test_an_empty_lake_has_a_page_too():
    page = render(QUALITY.empty(), QUARANTINE.empty(), AS_OF)
    assert "Nothing was checked in these days." in page
