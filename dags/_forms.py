"""What a person may choose on a run's form, and the setting that each choice decides for that run."""

from airflow.sdk import Param

# Every task of a run reads the form, so all of them agree.
OVERRIDES = {
    "symbols": "universe",
    "models": "training.model",
    "trials": "training.search.trials",
    "minutes": "training.search.timeout_seconds",
    "windows": "training.split.windows",
    "train_days": "training.split.train_days",
    "mode": "promotion.mode",
    "level": "comparison.level",
}
_IN_SECONDS = ("minutes",)


def choice(kind, title, what, **limits):
    """Return a Param that a person may leave empty."""
    setting = f"{what} Empty: the setting."
    return Param(None, type=["null", kind], title=title, description=setting, **limits)


def overrides(params):
    """Return the settings, by dotted key, that the form of a run decides."""
    given = {name: params[name] for name in OVERRIDES if params.get(name)}
    if "models" in given:
        given["models"] = given["models"][0]
    return {
        OVERRIDES[name]: value * 60 if name in _IN_SECONDS else value
        for name, value in given.items()
    }
