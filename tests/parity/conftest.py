"""Random transformers models as oracles: made from a config, saved, read back as a plain file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Published = Callable[[nn.Module], dict[str, Tensor]]
Close = Callable[[Tensor, Tensor], None]


def randomise(model: nn.Module) -> None:
    """Move every weight and statistic away from its starting value.

    Zero biases, unit norms and empty statistics would hide a tensor that went to the wrong place.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * noise(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                assert module.num_batches_tracked is not None
                module.running_mean.copy_(noise(module.running_mean))
                module.running_var.copy_(0.5 + noise(module.running_var).abs())
                module.num_batches_tracked.fill_(7)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Randomises a transformers model and returns the tensors of the file it would be on a hub."""
    folder: Path = tmp_path_factory.mktemp("published")

    def save(model: nn.Module) -> dict[str, Tensor]:
        randomise(model.eval())
        model.save_pretrained(folder)  # type: ignore[operator]
        tensors = load_file(folder / "model.safetensors")
        return {name: tensor.clone() for name, tensor in tensors.items()}

    return save


@pytest.fixture(scope="session")
def close() -> Close:
    """Asserts that two tensors agree within 1e-4 of the largest value."""

    def check(ours: Tensor, theirs: Tensor) -> None:
        assert ours.shape == theirs.shape
        assert torch.isfinite(ours).all()
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error <= 1e-4, f"relative error {error:.2e}"

    return check
