"""How books are compared: what may be settled in configuration, and nothing that depends on the data."""

from pydantic import BaseModel, ConfigDict, Field

HORIZONS = (30, 90, 180, 365)
"""Days after which the minimum detectable difference is stated."""


class ComparisonConfig(BaseModel):
    """How challengers are compared with the champion; changing it changes what is known of the past too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Chance, over a champion's whole reign and all its challengers together, of a verdict where there is no difference; for returns, again for losses, and again for those of shadows.",
    )
    block_hours: float = Field(
        24.0, gt=0, description="Returns are added up over blocks this long; one bet a block."
    )
    loss_block_hours: float = Field(
        168.0,
        gt=0,
        description="The same for log losses, whose outcomes must end within the block; at least four horizons.",
    )
    cap: float = Field(
        6.0,
        gt=1,
        description="Blocks count up to this many root mean squares of the earlier ones; the rest of a larger one does not.",
    )
    scale_blocks: int = Field(
        5, ge=1, description="First blocks that only say how large a difference is; no bet on them."
    )
    minimum_blocks: int = Field(
        10, ge=2, description="Fewer blocks than these are not compared, of returns and of losses."
    )
    declared_return_effect: float = Field(
        0.2,
        gt=0,
        description="Difference of annual log returns worth knowing; days to a verdict are stated for it.",
    )
    declared_loss_effect: float = Field(
        0.005, gt=0, description="Difference of log losses worth knowing, nats."
    )
    bootstrap_paths: int = Field(
        1_000, ge=100, description="Paths of the stationary bootstrap behind the classical p-value."
    )
