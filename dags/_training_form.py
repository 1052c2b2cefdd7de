"""The form of a training: which models, how long a search, which span."""

from _forms import choice

from training.models import MODELS

# `grouped` is not asked for by name but by training.scope.
NAMES = [name for name in MODELS if name != "grouped"]
TRAINING = {
    "models": choice(
        "array",
        "Models",
        "The first by this run, each other by a run of its own.",
        uniqueItems=True,
        items={"type": "string", "enum": NAMES},
        examples=NAMES,
    ),
    "trials": choice("integer", "Trials", "Trials of the search.", minimum=1),
    "minutes": choice(
        "number", "Minutes of search", "No trial is begun that would end later.", exclusiveMinimum=0
    ),
    "windows": choice("integer", "Test windows", "Windows of the walk-forward.", minimum=1),
    "train_days": choice(
        "number", "Days of training", "Longest span before a window.", exclusiveMinimum=0
    ),
}
