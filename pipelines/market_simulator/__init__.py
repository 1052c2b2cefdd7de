"""An HTTP server that speaks the public REST API of Binance and Upbit.

`running_simulator(market, now=...)` serves in a thread, `serve(...)` blocks for the command line;
`market` is a `SyntheticMarket` or a `ReplayMarket`.
"""

from pipelines.market_simulator.replay import ReplayMarket
from pipelines.market_simulator.server import Simulator, running_simulator, serve
from pipelines.market_simulator.synthetic import SyntheticMarket

__all__ = ["ReplayMarket", "Simulator", "SyntheticMarket", "running_simulator", "serve"]
