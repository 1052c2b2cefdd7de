"""What a person may choose on a run's form, and the setting that each choice decides for that run."""

from airflow.sdk import Param

# Every task of a run reads the form, so all of them agree.
OVERRIDES = {
    "symbols": "universe",
    "model": "training.model",
    "trials": "training.search.trials",
    "minutes": "training.search.timeout_seconds",
    "windows": "training.split.windows",
    "train_days": "training.split.train_days",
}
_IN_SECONDS = ("minutes",)


def _choice(kind, title, what, **limits):
    setting = f"{what} Empty: the setting."
    return Param(None, type=["null", kind], title=title, description=setting, **limits)


TRAINING = {
    "model": _choice("string", "Model", "What is trained, one of `hourglass models`.", minLength=1),
    "trials": _choice("integer", "Trials", "Trials of the search.", minimum=1),
    "minutes": _choice(
        "number", "Minutes of search", "No trial is begun that would end later.", exclusiveMinimum=0
    ),
    "windows": _choice("integer", "Test windows", "Windows of the walk-forward.", minimum=1),
    "train_days": _choice(
        "number", "Days of training", "Longest span before a window.", exclusiveMinimum=0
    ),
}


def overrides(params):
    """Return the settings, by dotted key, that the form of a run decides."""
    given = {name: params[name] for name in OVERRIDES if params.get(name)}
    return {
        OVERRIDES[name]: value * 60 if name in _IN_SECONDS else value
        for name, value in given.items()
    }
