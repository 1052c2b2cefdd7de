"""What every step writes, as assets; an asset also begins runs."""

from airflow.sdk import Asset

# What a step writes. Each asset is named here and nowhere else: a second URI for a name would make it
# inactive.
PROMOTIONS = Asset(name="promotions", uri="hourglass://ledger/promotions")
DECISIONS = Asset(name="decisions", uri="hourglass://lake/decisions")
_BY_HAND = ("settle_promotion", "change_champion")
OUTLETS = {
    "ingest_bars": [
        Asset(name="bars", uri="hourglass://lake/bars"),
        Asset(name="funding", uri="hourglass://lake/funding"),
    ],
    "check_bars": [Asset(name="quality", uri="hourglass://lake/quality")],
    "build_features": [Asset(name="features", uri="hourglass://lake/features")],
    "score_bars": [Asset(name="scores", uri="hourglass://lake/scores")],
    "trade_paper": [Asset(name="equity", uri="hourglass://ledger/equity")],
    "check_drift": [Asset(name="drift", uri="hourglass://lake/drift")],
    "request_retraining": [Asset(name="retraining", uri="hourglass://drift/retraining")],
    "compare_models": [Asset(name="comparisons", uri="hourglass://lake/comparisons")],
    "close_outcomes": [Asset(name="outcomes", uri="hourglass://lake/outcomes")],
    **{name: [PROMOTIONS, DECISIONS] for name in ("promote_model", "watch_champion", *_BY_HAND)},
    "register": [PROMOTIONS],
}
