"""A temporal convolutional network, read from safetensors and swept over each symbol's history."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.sequences.architecture import Architecture
from serving.sequences.scaling import RobustScaling
from serving.sequences.segments import SegmentIndex, Segments

if TYPE_CHECKING:
    from torch import Tensor

    from serving.sequences.temporal import TemporalNet

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

NETWORK_FILE = "network.safetensors"
ARCHITECTURE_FILE = "network.json"

# Bars a segment answers, segments swept and rows embedded at once: what they fill stays in the cache.
_LONGEST = 256
_SEGMENTS_AT_ONCE = 16
_ROWS_AT_ONCE = 4096


class TCNPredictor:
    """A network with the scaling of its inputs.

    Parameters
    ----------
    net : TemporalNet
    scaling : RobustScaling
    """

    def __init__(self, net: "TemporalNet", scaling: RobustScaling) -> None:
        self.net, self.scaling = net, scaling

    @property
    def context_bars(self) -> int:
        """Bars, the row's own included, that a probability depends on."""
        return self.net.shape.context_bars

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up), shape (n, 3); a missing feature counts as its median.

        Rows share their past: the cost is that of the stretches of bars with asked rows, not of a
        window a row. Always one thread, so that the bits do not depend on how many there are.

        Raises
        ------
        ValueError
            If a symbol has two rows on one bar.
        """
        import torch

        from serving.sequences.temporal import one_thread

        if observations.rows.size == 0:
            return np.empty((0, 3))
        index = SegmentIndex(observations.symbol, observations.bar)
        segments = index.lay_out(observations.rows, self.context_bars, longest=_LONGEST)
        with one_thread(), torch.inference_mode():
            embedded, places = self._embedded(observations.X, segments)
            logits = np.concatenate(
                [
                    self._sweep(
                        embedded, torch.from_numpy(places[start : start + _SEGMENTS_AT_ONCE])
                    )
                    for start in range(0, len(places), _SEGMENTS_AT_ONCE)
                ]
            )
        return softmax(logits[segments.segment, :, segments.offset])

    def _embedded(self, X: Matrix, segments: Segments) -> tuple["Tensor", Rows]:
        """Embed each seen row once; return also the segments as places among the embedded."""
        import torch

        seen = segments.seen
        # The last row, place -1, stands for absent bars.
        embedded = torch.zeros(seen.size + 1, self.net.shape.channels)
        for start in range(0, seen.size, _ROWS_AT_ONCE):
            rows = seen[start : start + _ROWS_AT_ONCE]
            scaled = torch.from_numpy(self.scaling.apply(X[rows]))
            embedded[start : start + rows.size] = self.net.embed(scaled)
        place = np.full(len(X) + 1, -1)
        place[seen] = np.arange(seen.size)
        return embedded, place[segments.rows]

    def _sweep(self, embedded: "Tensor", places: "Tensor") -> Matrix:
        logits: Matrix = self.net(embedded[places], (places >= 0).float()).numpy()
        return logits

    def save(self, folder: Path) -> None:
        """Write `network.json` and `network.safetensors`."""
        import torch
        from safetensors.torch import save_file

        tensors = {name: value.contiguous() for name, value in self.net.state_dict().items()}
        tensors["scaling.center"] = torch.from_numpy(self.scaling.center)
        tensors["scaling.inverse"] = torch.from_numpy(self.scaling.inverse)
        save_file(tensors, folder / NETWORK_FILE)
        text = json.dumps(asdict(self.net.shape), indent=1, sort_keys=True) + "\n"
        (folder / ARCHITECTURE_FILE).write_text(text, encoding="utf-8")


def load(folder: Path) -> TCNPredictor:
    """Read what `save` wrote; ValueError if it is missing, damaged or of another shape."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from serving.sequences.temporal import TemporalNet

    try:
        tree: dict[str, Any] = json.loads((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
        net = TemporalNet(Architecture(**tree))
        tensors = load_file(folder / NETWORK_FILE)
        center, inverse = (tensors.pop(f"scaling.{name}").numpy() for name in ("center", "inverse"))
        net.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder / NETWORK_FILE} is not a readable network: {reason}") from None
    return TCNPredictor(net.requires_grad_(False), RobustScaling(center, inverse))


def softmax(logits: Matrix) -> Floats:
    """Return probabilities of logits, shape (n, 3), in double precision."""
    grown = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    proba: Floats = grown / grown.sum(axis=1, keepdims=True)
    return proba
