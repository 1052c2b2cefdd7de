"""What books earned bar by bar."""

from types import ModuleType

import numpy as np

from pipelines.ledger import Ledger


def test_returns_add_up_to_what_the_book_is_worth(ledger: Ledger, lively: ModuleType) -> None:
    book = lively.open_model(ledger)
    lively.trade(ledger, book, 1, 20)
    end = lively.START + 20 * lively.HOUR
    returns, fills = ledger.returns("model-1", end)
    (standing,) = ledger.standings()
    assert standing.state is not None
    worth = float(standing.state["money"]["equity"])
    assert returns.height == 20
    assert np.isclose(100_000.0 * np.exp(returns["log_return"].sum()), worth, rtol=1e-12)
    assert fills == ledger.counts()["fills"] > 0
    early, fewer = ledger.returns("model-1", lively.START + 8 * lively.HOUR)
    assert early.equals(returns.head(8))
    assert fewer <= fills
