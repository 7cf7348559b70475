"""What the original authors' networks compute, written out plainly over their own names.

Slow and direct: one head at a time, windows as a mask over all pairs of cells, points by
``grid_sample``. It shares nothing with our modules, so that weights read in a wrong order, or
under a wrong name, give other numbers here than there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = Mapping[str, Tensor]


def linear(t: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[name + ".weight"], t.get(name + ".bias"))


def layer_norm(t: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[name + ".weight"], t[name + ".bias"], eps)


def batch_norm(t: Weights, name: str, x: Tensor) -> Tensor:
    mean, var = t[name + ".running_mean"], t[name + ".running_var"]
    return F.batch_norm(x, mean, var, t[name + ".weight"], t[name + ".bias"], eps=1e-5)


def numbered(t: Weights, name: str) -> list[str]:
    """Every name of the list of modules ``name``, which has a ``{}``."""
    names: list[str] = []
    for n in count():
        if not any(key.startswith(name.format(n) + ".") for key in t):
            return names
        names.append(name.format(n))
    raise AssertionError


def cells(x: Tensor) -> Tensor:
    """``(B, C, h, w)`` to ``(B, h * w, C)``."""
    return x.flatten(2).transpose(1, 2)


def as_map(x: Tensor, height: int, width: int) -> Tensor:
    """``(B, h * w, C)`` to ``(B, C, h, w)``."""
    return x.transpose(1, 2).reshape(x.shape[0], -1, height, width)


def attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention, head after head; ``bias`` is ``(heads, queries, keys)``."""
    size = query.shape[-1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].transpose(-2, -1) / math.sqrt(size)
        if bias is not None:
            scores = scores + bias[head]
        mixed.append(scores.softmax(-1) @ value[..., part])
    return torch.cat(mixed, -1)


# --- SegFormer -------------------------------------------------------------------------------


def segformer(t: Weights, pixels: Tensor) -> Tensor:
    """Logits ``(B, K, H/4, W/4)``."""
    maps, x = [], pixels
    for n, heads in zip((1, 2, 3, 4), (1, 2, 5, 8), strict=True):
        name = f"backbone.patch_embed{n}"
        kernel = t[name + ".proj.weight"]
        stride, padding = 4 if n == 1 else 2, kernel.shape[-1] // 2
        x = F.conv2d(x, kernel, t[name + ".proj.bias"], stride, padding)
        height, width = x.shape[-2:]
        x = layer_norm(t, name + ".norm", cells(x))
        for block in numbered(t, f"backbone.block{n}.{{}}"):
            x = x + reduced_attention(t, block, x, heads, height, width)
            y = linear(t, block + ".mlp.fc1", layer_norm(t, block + ".norm2", x, 1e-6))
            depthwise = block + ".mlp.dwconv.dwconv"
            y = F.conv2d(
                as_map(y, height, width),
                t[depthwise + ".weight"],
                t[depthwise + ".bias"],
                padding=1,
                groups=y.shape[-1],
            )
            x = x + linear(t, block + ".mlp.fc2", F.gelu(cells(y)))
        x = as_map(layer_norm(t, f"backbone.norm{n}", x, 1e-6), height, width)
        maps.append(x)
    size = maps[0].shape[-2:]
    wide = []
    for n in (4, 3, 2, 1):
        x = maps[n - 1]
        y = as_map(linear(t, f"decode_head.linear_c{n}.proj", cells(x)), *x.shape[-2:])
        wide.append(F.interpolate(y, size, mode="bilinear", align_corners=False))
    x = F.conv2d(torch.cat(wide, 1), t["decode_head.linear_fuse.conv.weight"])
    x = F.relu(batch_norm(t, "decode_head.linear_fuse.bn", x))
    head = "decode_head.linear_pred"
    return F.conv2d(x, t[head + ".weight"], t[head + ".bias"])


def reduced_attention(
    t: Weights, block: str, x: Tensor, heads: int, height: int, width: int
) -> Tensor:
    x = layer_norm(t, block + ".norm1", x, 1e-6)
    context = x
    if block + ".attn.sr.weight" in t:
        kernel = t[block + ".attn.sr.weight"]
        smaller = F.conv2d(
            as_map(x, height, width), kernel, t[block + ".attn.sr.bias"], stride=kernel.shape[-1]
        )
        context = layer_norm(t, block + ".attn.norm", cells(smaller))
    both = linear(t, block + ".attn.kv", context)
    width_of_one = x.shape[-1]
    key, value = both[..., :width_of_one], both[..., width_of_one:]
    mixed = attention(linear(t, block + ".attn.q", x), key, value, heads)
    return linear(t, block + ".attn.proj", mixed)


# --- Backbones of detectron2 -----------------------------------------------------------------


def resnet(t: Weights, pixels: Tensor) -> list[Tensor]:
    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = t[name + ".weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return batch_norm(t, name + ".norm", x)

    x = F.max_pool2d(F.relu(layer("backbone.stem.conv1", pixels, 2)), 3, 2, 1)
    maps = []
    for stage in range(2, 6):
        for b, block in enumerate(numbered(t, f"backbone.res{stage}.{{}}")):
            stride = 2 if stage > 2 and b == 0 else 1
            y = F.relu(layer(block + ".conv1", x))
            y = F.relu(layer(block + ".conv2", y, stride))
            y = layer(block + ".conv3", y)
            if b == 0:
                x = layer(block + ".shortcut", x, stride)
            x = F.relu(x + y)
        maps.append(x)
    return maps


def swin(t: Weights, pixels: Tensor) -> list[Tensor]:
    embed = "backbone.patch_embed"
    x = F.conv2d(pixels, t[embed + ".proj.weight"], t[embed + ".proj.bias"], stride=4)
    x = layer_norm(t, embed + ".norm", x.permute(0, 2, 3, 1))
    maps = []
    for stage, layer in enumerate(numbered(t, "backbone.layers.{}")):
        for b, block in enumerate(numbered(t, layer + ".blocks.{}")):
            x = x + window_attention(t, block, x, shifted=b % 2 == 1)
            y = linear(t, block + ".mlp.fc1", layer_norm(t, block + ".norm2", x))
            x = x + linear(t, block + ".mlp.fc2", F.gelu(y))
        maps.append(layer_norm(t, f"backbone.norm{stage}", x).permute(0, 3, 1, 2))
        if stage < 3:
            x = merge(t, layer + ".downsample", x)
    return maps


def merge(t: Weights, name: str, x: Tensor) -> Tensor:
    """Patch merging: the cells (row, column) of a 2x2 patch in this order, then norm, then map."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    patch = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    return F.linear(
        layer_norm(t, name + ".norm", torch.cat(patch, -1)), t[name + ".reduction.weight"]
    )


def window_attention(t: Weights, block: str, x: Tensor, *, shifted: bool) -> Tensor:
    """Attention of each cell of ``(B, h, w, C)`` to those of its window: a mask on all pairs."""
    table = t[block + ".attn.relative_position_bias_table"]
    side, heads = math.isqrt(table.shape[0]), table.shape[1]
    window = (side + 1) // 2
    height, width = x.shape[1:3]
    x = layer_norm(t, block + ".norm1", x)
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    padded = x.shape[1:3]
    shift = window // 2 if shifted else 0

    # For each cell: its place after the cyclic shift, and which side of the seam it came from.
    places, seams = [], []
    for length in padded:
        place = (torch.arange(length) - shift) % length
        places.append(place)
        seams.append((place >= length - shift).int() if shift else torch.zeros(length).int())
    down, right = (grid.flatten() for grid in torch.meshgrid(*places, indexing="ij"))
    seam_down, seam_right = (grid.flatten() for grid in torch.meshgrid(*seams, indexing="ij"))
    together = torch.ones(len(down), len(down), dtype=torch.bool)
    for one in (down // window, right // window, seam_down, seam_right):
        together &= one[:, None] == one
    step_down = down[:, None] % window - down % window + window - 1
    step_right = right[:, None] % window - right % window + window - 1
    bias = table[step_down * side + step_right].permute(2, 0, 1)
    bias = bias.masked_fill(~together, -torch.inf)

    query, key, value = linear(t, block + ".attn.qkv", x.flatten(1, 2)).chunk(3, -1)
    mixed = linear(t, block + ".attn.proj", attention(query, key, value, heads, bias))
    return mixed.unflatten(1, padded)[:, :height, :width]


# --- Mask2Former's head ----------------------------------------------------------------------


def sine_position(height: int, width: int, dim: int) -> Tensor:
    """``(h * w, dim)``: the row in the first half of the channels, the column in the second."""

    def encoded(index: int, length: int) -> list[float]:
        angle = (index + 1) / (length + 1e-6) * 2 * math.pi
        half = dim // 2
        return [
            (math.sin if c % 2 == 0 else math.cos)(angle / 10000 ** (2 * (c // 2) / half))
            for c in range(half)
        ]

    return torch.tensor(
        [encoded(y, height) + encoded(x, width) for y in range(height) for x in range(width)]
    )


def deformable(
    t: Weights,
    name: str,
    queries: Tensor,
    reference: Tensor,
    memory: Tensor,
    shapes: Sequence[Sequence[int]],
    heads: int,
) -> Tensor:
    """Deformable attention; ``reference (S, 2)`` is ``(x, y)`` in shares of the picture."""
    batch, length, dim = queries.shape
    levels, points = len(shapes), 4
    offsets = linear(t, name + ".sampling_offsets", queries)
    offsets = offsets.view(batch, length, heads, levels, points, 2)
    weights = linear(t, name + ".attention_weights", queries).view(batch, length, heads, -1)
    weights = weights.softmax(-1).view(batch, length, heads, levels, points)
    value = linear(t, name + ".value_proj", memory)
    total = []
    for head in range(heads):
        size = dim // heads
        mixed = torch.zeros(batch, length, size)
        start = 0
        for level, (height, width) in enumerate(shapes):
            part = value[:, start : start + height * width, head * size : (head + 1) * size]
            start += height * width
            place = reference[:, None] + offsets[:, :, head, level] / torch.tensor([width, height])
            read = F.grid_sample(
                as_map(part, height, width), 2 * place - 1, align_corners=False
            )  # (B, size, length, points), zero outside
            mixed += (read.permute(0, 2, 3, 1) * weights[:, :, head, level, :, None]).sum(2)
        total.append(mixed)
    return linear(t, name + ".output_proj", torch.cat(total, -1))


def convolved(t: Weights, name: str, x: Tensor) -> Tensor:
    """Convolution and group norm."""
    kernel = t[name + ".weight"]
    x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
    return F.group_norm(x, 32, t[name + ".norm.weight"], t[name + ".norm.bias"])


def pixel_decoder(t: Weights, maps: Sequence[Tensor], heads: int) -> tuple[Tensor, list[Tensor]]:
    """Mask features, and the three maps that queries look at, coarse to fine."""
    at = "sem_seg_head.pixel_decoder."
    tokens, position, reference, shapes = [], [], [], []
    for level, x in enumerate((maps[3], maps[2], maps[1])):
        name = f"{at}input_proj.{level}"
        y = F.conv2d(x, t[name + ".0.weight"], t[name + ".0.bias"])
        y = F.group_norm(y, 32, t[name + ".1.weight"], t[name + ".1.bias"])
        height, width = y.shape[-2:]
        shapes.append((height, width))
        tokens.append(cells(y))
        place = sine_position(height, width, y.shape[1])
        position.append(place + t[at + "transformer.level_embed"][level])
        reference += [
            ((x + 0.5) / width, (y + 0.5) / height) for y in range(height) for x in range(width)
        ]
    x, placed, where = torch.cat(tokens, 1), torch.cat(position), torch.tensor(reference)
    for layer in numbered(t, at + "transformer.encoder.layers.{}"):
        mixed = deformable(t, layer + ".self_attn", x + placed, where, x, shapes, heads)
        x = layer_norm(t, layer + ".norm1", x + mixed)
        y = linear(t, layer + ".linear2", F.relu(linear(t, layer + ".linear1", x)))
        x = layer_norm(t, layer + ".norm2", x + y)
    parts = x.split([height * width for height, width in shapes], 1)
    memory = [as_map(part, *shape) for part, shape in zip(parts, shapes, strict=True)]

    lateral = convolved(t, at + "adapter_1", maps[0])
    up = F.interpolate(memory[2], lateral.shape[-2:], mode="bilinear", align_corners=False)
    finest = F.relu(convolved(t, at + "layer_1", lateral + up))
    name = at + "mask_features"
    return F.conv2d(finest, t[name + ".weight"], t[name + ".bias"]), memory


def multihead(t: Weights, name: str, heads: int) -> nn.MultiheadAttention:
    """PyTorch's own module, which is what the authors used, with its own names."""
    dim = t[name + ".out_proj.weight"].shape[0]
    module = nn.MultiheadAttention(dim, heads, batch_first=True).eval()
    module.load_state_dict(
        {key.removeprefix(name + "."): t[key] for key in t if key.startswith(name + ".")}
    )
    return module


def classes_and_masks(t: Weights, queries: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    at = "sem_seg_head.predictor."
    embedding = queries
    for n in range(3):
        embedding = linear(t, f"{at}mask_embed.layers.{n}", embedding)
        embedding = F.relu(embedding) if n < 2 else embedding
    masks = torch.einsum("bqc,bchw->bqhw", embedding, features)
    return linear(t, at + "class_embed", queries), masks


def mask2former(t: Weights, pixels: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Class logits ``(B, N, K+1)`` and mask logits ``(B, N, H/4, W/4)``."""
    trunk = swin if "backbone.patch_embed.proj.weight" in t else resnet
    features, memory = pixel_decoder(t, trunk(t, pixels), heads)
    x = t["sem_seg_head.predictor.query_feat.weight"].expand(pixels.shape[0], -1, -1)
    return masked_layers(t, x, features, memory, heads)


def masked_layers(
    t: Weights, x: Tensor, features: Tensor, memory: Sequence[Tensor], heads: int
) -> tuple[Tensor, Tensor]:
    """The masked-attention layers on queries ``x (B, N, C)``, and what is read off the last."""
    at = "sem_seg_head.predictor."
    own = t[at + "query_embed.weight"]

    def read(x: Tensor) -> tuple[Tensor, Tensor]:
        return classes_and_masks(t, layer_norm(t, at + "decoder_norm", x), features)

    for i, cross in enumerate(numbered(t, at + "transformer_cross_attention_layers.{}")):
        level = i % 3
        height, width = memory[level].shape[-2:]
        values = cells(memory[level]) + t[at + "level_embed.weight"][level]
        keys = values + sine_position(height, width, values.shape[-1])
        masks = F.interpolate(read(x)[1], (height, width), mode="bilinear", align_corners=False)
        barred = masks.sigmoid().flatten(2) < 0.5
        barred &= ~barred.all(-1, keepdim=True)
        look = multihead(t, cross + ".multihead_attn", heads)
        mixed = look(x + own, keys, values, attn_mask=barred.repeat_interleave(heads, 0))[0]
        x = layer_norm(t, cross + ".norm", x + mixed)
        name = f"{at}transformer_self_attention_layers.{i}"
        mixed = multihead(t, name + ".self_attn", heads)(x + own, x + own, x)[0]
        x = layer_norm(t, name + ".norm", x + mixed)
        name = f"{at}transformer_ffn_layers.{i}"
        y = linear(t, name + ".linear2", F.relu(linear(t, name + ".linear1", x)))
        x = layer_norm(t, name + ".norm", x + y)
    return read(x)


# --- OneFormer's head ------------------------------------------------------------------------


def oneformer(
    t: Weights, pixels: Tensor, sentence: Sequence[int], heads: int
) -> tuple[Tensor, Tensor]:
    """Class and mask logits for a task, told by the tokens of its sentence."""
    trunk = swin if "backbone.patch_embed.proj.weight" in t else resnet
    features, memory = pixel_decoder(t, trunk(t, pixels), heads)
    at = "sem_seg_head.predictor."
    numbers = torch.zeros(77)
    numbers[: len(sentence)] = torch.tensor(sentence).float()
    token = linear(t, "task_mlp.layers.1", F.relu(linear(t, "task_mlp.layers.0", numbers)))
    token = layer_norm(t, at + "decoder_norm", token)

    # "src" is the positions, and what is added to it for the keys is the features.
    height, width = features.shape[-2:]
    values = sine_position(height, width, features.shape[1]).expand(len(pixels), -1, -1)
    name = at + "class_input_proj"
    keys = values + cells(F.conv2d(features, t[name + ".weight"], t[name + ".bias"]))
    own = t[at + "query_embed.weight"][:-1]
    x = token.expand(len(pixels), len(own), -1)
    for layer in numbered(t, at + "class_transformer.decoder.layers.{}"):
        mixed = multihead(t, layer + ".self_attn", heads)(x + own, x + own, x)[0]
        x = layer_norm(t, layer + ".norm1", x + mixed)
        mixed = multihead(t, layer + ".multihead_attn", heads)(x + own, keys, values)[0]
        x = layer_norm(t, layer + ".norm2", x + mixed)
        y = linear(t, layer + ".linear2", F.relu(linear(t, layer + ".linear1", x)))
        x = layer_norm(t, layer + ".norm3", x + y)
    x = layer_norm(t, at + "class_transformer.decoder.norm", x)
    x = torch.cat((x, token.expand(len(pixels), 1, -1)), 1)
    return masked_layers(t, x, features, memory, heads)


# --- MaskFormer's head -----------------------------------------------------------------------


def maskformer(t: Weights, pixels: Tensor, heads: int = 8) -> tuple[Tensor, Tensor]:
    """Class logits ``(B, N, K+1)`` and mask logits ``(B, N, H/4, W/4)``."""
    trunk = swin if "backbone.patch_embed.proj.weight" in t else resnet
    maps = trunk(t, pixels)
    at = "sem_seg_head.pixel_decoder."
    y = F.relu(convolved(t, at + "layer_4", maps[3]))
    for n in (3, 2, 1):
        lateral = convolved(t, f"{at}adapter_{n}", maps[n - 1])
        y = lateral + F.interpolate(y, lateral.shape[-2:], mode="nearest")
        y = F.relu(convolved(t, f"{at}layer_{n}", y))
    name = at + "mask_features"
    features = F.conv2d(y, t[name + ".weight"], t[name + ".bias"], padding=1)

    at = "sem_seg_head.predictor."
    height, width = maps[3].shape[-2:]
    values = F.conv2d(maps[3], t[at + "input_proj.weight"], t[at + "input_proj.bias"])
    values = cells(values)
    keys = values + sine_position(height, width, values.shape[-1])
    own = t[at + "query_embed.weight"].expand(pixels.shape[0], -1, -1)
    x = torch.zeros_like(own)
    for layer in numbered(t, at + "transformer.decoder.layers.{}"):
        mixed = multihead(t, layer + ".self_attn", heads)(x + own, x + own, x)[0]
        x = layer_norm(t, layer + ".norm1", x + mixed)
        mixed = multihead(t, layer + ".multihead_attn", heads)(x + own, keys, values)[0]
        x = layer_norm(t, layer + ".norm2", x + mixed)
        y = linear(t, layer + ".linear2", F.relu(linear(t, layer + ".linear1", x)))
        x = layer_norm(t, layer + ".norm3", x + y)
    return classes_and_masks(t, layer_norm(t, at + "transformer.decoder.norm", x), features)
