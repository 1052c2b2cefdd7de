import time

import pytest

from pipelines.market_simulator.exchange import RateLimiter


def test_weight_is_forgotten_when_the_window_ends(monkeypatch):
    hands = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: hands[0])
    limiter = RateLimiter(limit=10, window=60.0)
    assert limiter.charge(10) is None
    hands[0] += 45.0
    assert limiter.charge(1) == pytest.approx(15.0)
    hands[0] += 15.0
    assert limiter.charge(4) is None
    assert limiter.used == 4
    hands[0] += 130.0
    assert limiter.charge(11) == pytest.approx(50.0)
