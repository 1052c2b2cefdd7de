"""How drift is looked for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DriftConfig(BaseModel):
    """How the present is held against what the champion was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="Chance of any alarm on a day on which nothing drifted, all features and questions together.",
    )
    window_hours: float = Field(
        168.0,
        gt=0,
        description="Length of the window that is compared; holds for models trained from now on. The training must hold five of them.",
    )
    statistics: tuple[Literal["psi", "ks", "wasserstein", "jensen_shannon"], ...] = Field(
        ("psi", "ks", "wasserstein", "jensen_shannon"),
        min_length=1,
        description="Distances of a column that may alarm.",
    )
    folklore: bool = Field(
        False,
        description="Columns alarm at a stability index of 0.25 and by nothing else; on windows of a week that is every day.",
    )
    retrain_at_most_every_days: float = Field(
        7.0, gt=0, description="An alarm asks for an early retraining at most this often, days."
    )
