import math
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.tearsheet.formats import FORMATS, Kind, say


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.1234, "percent", "+12.34%"),
        (-0.1234, "percent", "−12.34%"),
        (-0.000001, "percent", "0.00%"),
        (0.0, "percent", "0.00%"),
        (0.345, "share", "34.5%"),
        (-1234.5, "money", "−1,234.50"),
        (12345, "count", "12,345"),
        (0.00001234, "price", "0.00001234"),
        (61234.5, "price", "61,234.50"),
        (0, "price", "0.00"),
        (1.23456, "ratio", "1.23"),
        ("-model", "text", "-model"),
        ("", "said", ""),
        (datetime(2024, 3, 1, 9, tzinfo=UTC), "instant", "2024-03-01 09:00"),
        (None, "money", "–"),
        (math.nan, "ratio", "–"),
        (math.inf, "percent", "–"),
    ],
)
def test_a_value_reads_as_its_kind(value: Any, kind: Kind, text: str) -> None:
    assert say(value, kind) == text


def test_every_kind_has_a_spreadsheet_format() -> None:
    assert all(form.excel for form in FORMATS.values())
