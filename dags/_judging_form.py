"""The form of the daily round: who decides about a promotion, and how surely books are compared."""

from _forms import choice

JUDGING = {
    "mode": choice(
        "string",
        "Promotion",
        "automatic: evidence decides; approve: a person is asked; manual: nobody is.",
        enum=["automatic", "approve", "manual", None],
    ),
    "level": choice(
        "number",
        "Level",
        "Chance of a false verdict over a champion's reign.",
        exclusiveMinimum=0,
        exclusiveMaximum=1,
    ),
}
