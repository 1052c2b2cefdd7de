"""Trading the past outside the ledger: one strategy or a thousand configurations over a span.

`variants` says under which configurations, `span` which bars, `scores` which scores are honest there,
`verb` runs them through the engine, `writing` puts the answer into files.
"""

from pipelines.backtests.request import Extras, Request
from pipelines.backtests.variants import Variant, build_variants
from pipelines.backtests.verb import run_backtests

__all__ = ["Extras", "Request", "Variant", "build_variants", "run_backtests"]
