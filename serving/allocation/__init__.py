"""Weights of a portfolio in place of a bet per symbol (`RiskConfig.allocation`).

`allocate` is the portfolio of one moment; `allocation_signals` asks for it at every rebalance of a
span. Both are long only. The risk rules apply to what they ask for as to any other wish.
"""

from serving.allocation.methods import METHODS, allocate
from serving.allocation.rebalance import allocation_signals, history_bars_of

__all__ = ["METHODS", "allocate", "allocation_signals", "history_bars_of"]
