"""The loss of pixel labellers, whose masks compete for each pixel (SegFormer)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.data.targets import Targets
from triptych.networks.contract import Prediction
from triptych.truth import ignored_id


class LabellingCriterion(nn.Module):
    """Cross-entropy of every known pixel (Xie et al., SegFormer, 2021, section 4.1).

    Logits are resized to the crop first, bilinearly, as in the readings.

    Args:
        class_weights: ``K`` weights of the classes, all 1 by default.
    """

    def __init__(self, *, class_weights: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.class_weights: Tensor | None = None
        if class_weights:
            self.class_weights = torch.tensor(class_weights, dtype=torch.float32, device="cpu")

    def forward(
        self,
        prediction: Prediction,
        targets: list[Targets],
        mean_over_processes: Callable[[float], float] = float,
    ) -> dict[str, Tensor]:
        """The loss of a batch, ``{"pixel"}``: the weighted mean over the pixels of known class.

        Args:
            prediction: ``mask_logits (B, K, h, w)``; it has no class logits.
            targets: the ground truth, one for each image, all of one size.
            mean_over_processes: averages a number over the processes of a distributed run, so
                that the loss is normalised by the known pixels of all of them.
        """
        truth = torch.stack([target.semantic for target in targets])
        logits = F.interpolate(
            prediction.mask_logits.float(), size=truth.shape[-2:], mode="bilinear"
        )
        weights = self.class_weights
        if weights is None:
            weights = torch.ones(logits.shape[1], dtype=torch.float32, device="cpu")
        weights = weights.to(logits.device)
        unknown = ignored_id(logits.shape[1])
        total = F.cross_entropy(logits, truth, weights, ignore_index=unknown, reduction="sum")
        weight = float(weights[truth[truth != unknown]].sum())
        return {"pixel": total / max(mean_over_processes(weight), 1e-6)}
