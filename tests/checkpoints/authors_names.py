"""Names and shapes in the files of the original authors, listed as facts.

From the modules' definitions in NVlabs/SegFormer, facebookresearch/Mask2Former and
facebookresearch/detectron2. Nothing here is derived from our rules: it is what they are held
against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def listed(table: str, **numbers: int) -> Shapes:
    """One tensor a line: its name, then its sizes, such as ``2*C``."""
    shapes = {}
    for line in table.split("\n"):
        if line.strip():
            name, *sizes = line.format(**numbers).split()
            shapes[name] = tuple(
                math.prod(int(numbers.get(part, part)) for part in size.split("*"))
                for size in sizes
            )
    return shapes


def segformer(
    channels: Sequence[int] = (32, 64, 160, 256),
    depths: Sequence[int] = (2, 2, 2, 2),
    decoder: int = 256,
    classes: int = 150,
    reductions: Sequence[int] = (8, 4, 2, 1),
    unused: int = 128,
) -> Shapes:
    """NVlabs SegFormer. ``unused``: width of a classifier that is never called."""
    shapes: Shapes = {}
    before = 3
    for stage, (C, depth, R) in enumerate(zip(channels, depths, reductions, strict=True)):
        n = stage + 1
        table = """
            backbone.patch_embed{n}.proj.weight C P K K
            backbone.patch_embed{n}.proj.bias C
            backbone.patch_embed{n}.norm.weight C
            backbone.patch_embed{n}.norm.bias C
            """
        shapes |= listed(table, n=n, C=C, P=before, K=3 if stage else 7)
        for b in range(depth):
            table = """
                backbone.block{n}.{b}.norm1.weight C
                backbone.block{n}.{b}.norm1.bias C
                backbone.block{n}.{b}.attn.q.weight C C
                backbone.block{n}.{b}.attn.q.bias C
                backbone.block{n}.{b}.attn.kv.weight 2*C C
                backbone.block{n}.{b}.attn.kv.bias 2*C
                backbone.block{n}.{b}.attn.proj.weight C C
                backbone.block{n}.{b}.attn.proj.bias C
                """
            if R > 1:
                table += """
                backbone.block{n}.{b}.attn.sr.weight C C R R
                backbone.block{n}.{b}.attn.sr.bias C
                backbone.block{n}.{b}.attn.norm.weight C
                backbone.block{n}.{b}.attn.norm.bias C
                """
            table += """
                backbone.block{n}.{b}.norm2.weight C
                backbone.block{n}.{b}.norm2.bias C
                backbone.block{n}.{b}.mlp.fc1.weight 4*C C
                backbone.block{n}.{b}.mlp.fc1.bias 4*C
                backbone.block{n}.{b}.mlp.dwconv.dwconv.weight 4*C 1 3 3
                backbone.block{n}.{b}.mlp.dwconv.dwconv.bias 4*C
                backbone.block{n}.{b}.mlp.fc2.weight C 4*C
                backbone.block{n}.{b}.mlp.fc2.bias C
                """
            shapes |= listed(table, n=n, b=b, C=C, R=R)
        shapes |= listed(
            """
            backbone.norm{n}.weight C
            backbone.norm{n}.bias C
            decode_head.linear_c{n}.proj.weight D C
            decode_head.linear_c{n}.proj.bias D
            """,
            n=n,
            C=C,
            D=decoder,
        )
        before = C
    return shapes | listed(
        """
        decode_head.conv_seg.weight K U 1 1
        decode_head.conv_seg.bias K
        decode_head.linear_fuse.conv.weight D 4*D 1 1
        decode_head.linear_fuse.bn.weight D
        decode_head.linear_fuse.bn.bias D
        decode_head.linear_fuse.bn.running_mean D
        decode_head.linear_fuse.bn.running_var D
        decode_head.linear_fuse.bn.num_batches_tracked
        decode_head.linear_pred.weight K D 1 1
        decode_head.linear_pred.bias K
        """,
        D=decoder,
        K=classes,
        U=unused,
    )


def swin(dim: int, depths: Sequence[int], heads: Sequence[int], window: int) -> Shapes:
    """The Swin backbone of MaskFormer and Mask2Former."""
    shapes = listed(
        """
        backbone.patch_embed.proj.weight C 3 4 4
        backbone.patch_embed.proj.bias C
        backbone.patch_embed.norm.weight C
        backbone.patch_embed.norm.bias C
        """,
        C=dim,
    )
    for s, (depth, H) in enumerate(zip(depths, heads, strict=True)):
        C = dim * 2**s
        for b in range(depth):
            shapes |= listed(
                """
                backbone.layers.{s}.blocks.{b}.norm1.weight C
                backbone.layers.{s}.blocks.{b}.norm1.bias C
                backbone.layers.{s}.blocks.{b}.attn.relative_position_bias_table T*T H
                backbone.layers.{s}.blocks.{b}.attn.relative_position_index W*W W*W
                backbone.layers.{s}.blocks.{b}.attn.qkv.weight 3*C C
                backbone.layers.{s}.blocks.{b}.attn.qkv.bias 3*C
                backbone.layers.{s}.blocks.{b}.attn.proj.weight C C
                backbone.layers.{s}.blocks.{b}.attn.proj.bias C
                backbone.layers.{s}.blocks.{b}.norm2.weight C
                backbone.layers.{s}.blocks.{b}.norm2.bias C
                backbone.layers.{s}.blocks.{b}.mlp.fc1.weight 4*C C
                backbone.layers.{s}.blocks.{b}.mlp.fc1.bias 4*C
                backbone.layers.{s}.blocks.{b}.mlp.fc2.weight C 4*C
                backbone.layers.{s}.blocks.{b}.mlp.fc2.bias C
                """,
                s=s,
                b=b,
                C=C,
                H=H,
                W=window,
                T=2 * window - 1,
            )
        if s < len(depths) - 1:
            shapes |= listed(
                """
                backbone.layers.{s}.downsample.reduction.weight 2*C 4*C
                backbone.layers.{s}.downsample.norm.weight 4*C
                backbone.layers.{s}.downsample.norm.bias 4*C
                """,
                s=s,
                C=C,
            )
        shapes |= listed("backbone.norm{s}.weight C\nbackbone.norm{s}.bias C", s=s, C=C)
    return shapes


def resnet(
    depths: Sequence[int],
    channels: Sequence[int] = (256, 512, 1024, 2048),
    stem: int = 64,
    frozen: bool = True,
) -> Shapes:
    """detectron2's ResNet. A frozen norm does not count batches, a trained one does."""
    norm = """
        {at}.norm.weight C
        {at}.norm.bias C
        {at}.norm.running_mean C
        {at}.norm.running_var C
        """
    if not frozen:
        norm += "{at}.norm.num_batches_tracked"

    def layer(at: str, outputs: int, inputs: int, kernel: int) -> Shapes:
        named = norm.replace("{at}", at)
        return {f"{at}.weight": (outputs, inputs, kernel, kernel)} | listed(named, C=outputs)

    shapes = layer("backbone.stem.conv1", stem, 3, 7)
    before = stem
    for stage, (depth, width) in enumerate(zip(depths, channels, strict=True)):
        for b in range(depth):
            at = f"backbone.res{stage + 2}.{b}"
            if b == 0:
                shapes |= layer(f"{at}.shortcut", width, before, 1)
            shapes |= layer(f"{at}.conv1", width // 4, before, 1)
            shapes |= layer(f"{at}.conv2", width // 4, width // 4, 3)
            shapes |= layer(f"{at}.conv3", width, width // 4, 1)
            before = width
    return shapes


def mask2former(
    channels: Sequence[int],
    dim: int = 256,
    heads: int = 8,
    classes: int = 133,
    queries: int = 100,
    layers: int = 9,
    feedforward: int = 2048,
    encoder_layers: int = 6,
    encoder_feedforward: int = 1024,
) -> Shapes:
    """All of Mask2Former but the backbone, whose widths are ``channels``, fine to coarse."""
    shapes: Shapes = {"criterion.empty_weight": (classes + 1,)}
    for i, width in enumerate(reversed(channels[1:])):
        shapes |= listed(
            """
            sem_seg_head.pixel_decoder.input_proj.{i}.0.weight D W 1 1
            sem_seg_head.pixel_decoder.input_proj.{i}.0.bias D
            sem_seg_head.pixel_decoder.input_proj.{i}.1.weight D
            sem_seg_head.pixel_decoder.input_proj.{i}.1.bias D
            """,
            i=i,
            D=dim,
            W=width,
        )
    for i in range(encoder_layers):
        shapes |= listed(
            """
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.sampling_offsets.weight H*3*4*2 D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.sampling_offsets.bias H*3*4*2
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.attention_weights.weight H*3*4 D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.attention_weights.bias H*3*4
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.value_proj.weight D D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.value_proj.bias D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.output_proj.weight D D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.self_attn.output_proj.bias D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.norm1.weight D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.norm1.bias D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.linear1.weight F D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.linear1.bias F
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.linear2.weight D F
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.linear2.bias D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.norm2.weight D
            sem_seg_head.pixel_decoder.transformer.encoder.layers.{i}.norm2.bias D
            """,  # noqa: E501
            i=i,
            D=dim,
            H=heads,
            F=encoder_feedforward,
        )
    shapes |= listed(
        """
        sem_seg_head.pixel_decoder.transformer.level_embed 3 D
        sem_seg_head.pixel_decoder.adapter_1.weight D W 1 1
        sem_seg_head.pixel_decoder.adapter_1.norm.weight D
        sem_seg_head.pixel_decoder.adapter_1.norm.bias D
        sem_seg_head.pixel_decoder.layer_1.weight D D 3 3
        sem_seg_head.pixel_decoder.layer_1.norm.weight D
        sem_seg_head.pixel_decoder.layer_1.norm.bias D
        sem_seg_head.pixel_decoder.mask_features.weight D D 1 1
        sem_seg_head.pixel_decoder.mask_features.bias D
        sem_seg_head.predictor.query_feat.weight Q D
        sem_seg_head.predictor.query_embed.weight Q D
        sem_seg_head.predictor.level_embed.weight 3 D
        sem_seg_head.predictor.decoder_norm.weight D
        sem_seg_head.predictor.decoder_norm.bias D
        sem_seg_head.predictor.class_embed.weight K D
        sem_seg_head.predictor.class_embed.bias K
        sem_seg_head.predictor.mask_embed.layers.0.weight D D
        sem_seg_head.predictor.mask_embed.layers.0.bias D
        sem_seg_head.predictor.mask_embed.layers.1.weight D D
        sem_seg_head.predictor.mask_embed.layers.1.bias D
        sem_seg_head.predictor.mask_embed.layers.2.weight D D
        sem_seg_head.predictor.mask_embed.layers.2.bias D
        """,
        D=dim,
        W=channels[0],
        Q=queries,
        K=classes + 1,
    )
    for i in range(layers):
        shapes |= listed(
            """
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.multihead_attn.in_proj_weight 3*D D
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.multihead_attn.in_proj_bias 3*D
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.multihead_attn.out_proj.weight D D
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.multihead_attn.out_proj.bias D
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.norm.weight D
            sem_seg_head.predictor.transformer_cross_attention_layers.{i}.norm.bias D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.self_attn.in_proj_weight 3*D D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.self_attn.in_proj_bias 3*D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.self_attn.out_proj.weight D D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.self_attn.out_proj.bias D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.norm.weight D
            sem_seg_head.predictor.transformer_self_attention_layers.{i}.norm.bias D
            sem_seg_head.predictor.transformer_ffn_layers.{i}.linear1.weight F D
            sem_seg_head.predictor.transformer_ffn_layers.{i}.linear1.bias F
            sem_seg_head.predictor.transformer_ffn_layers.{i}.linear2.weight D F
            sem_seg_head.predictor.transformer_ffn_layers.{i}.linear2.bias D
            sem_seg_head.predictor.transformer_ffn_layers.{i}.norm.weight D
            sem_seg_head.predictor.transformer_ffn_layers.{i}.norm.bias D
            """,  # noqa: E501
            i=i,
            D=dim,
            F=feedforward,
        )
    return shapes


def maskformer(
    channels: Sequence[int],
    dim: int = 256,
    classes: int = 150,
    queries: int = 100,
    layers: int = 6,
    feedforward: int = 2048,
    pyramid: int = 256,
    masks: int = 256,
) -> Shapes:
    """All of MaskFormer but the backbone, whose widths are ``channels``, fine to coarse."""
    shapes: Shapes = {"criterion.empty_weight": (classes + 1,)}
    for n, width in enumerate(channels[:3], start=1):
        shapes |= listed(
            """
            sem_seg_head.pixel_decoder.adapter_{n}.weight P W 1 1
            sem_seg_head.pixel_decoder.adapter_{n}.norm.weight P
            sem_seg_head.pixel_decoder.adapter_{n}.norm.bias P
            sem_seg_head.pixel_decoder.layer_{n}.weight P P 3 3
            sem_seg_head.pixel_decoder.layer_{n}.norm.weight P
            sem_seg_head.pixel_decoder.layer_{n}.norm.bias P
            """,
            n=n,
            P=pyramid,
            W=width,
        )
    shapes |= listed(
        """
        sem_seg_head.pixel_decoder.layer_4.weight P W 3 3
        sem_seg_head.pixel_decoder.layer_4.norm.weight P
        sem_seg_head.pixel_decoder.layer_4.norm.bias P
        sem_seg_head.pixel_decoder.mask_features.weight M P 3 3
        sem_seg_head.pixel_decoder.mask_features.bias M
        sem_seg_head.predictor.query_embed.weight Q D
        sem_seg_head.predictor.input_proj.weight D W 1 1
        sem_seg_head.predictor.input_proj.bias D
        sem_seg_head.predictor.transformer.decoder.norm.weight D
        sem_seg_head.predictor.transformer.decoder.norm.bias D
        sem_seg_head.predictor.class_embed.weight K D
        sem_seg_head.predictor.class_embed.bias K
        sem_seg_head.predictor.mask_embed.layers.0.weight D D
        sem_seg_head.predictor.mask_embed.layers.0.bias D
        sem_seg_head.predictor.mask_embed.layers.1.weight D D
        sem_seg_head.predictor.mask_embed.layers.1.bias D
        sem_seg_head.predictor.mask_embed.layers.2.weight M D
        sem_seg_head.predictor.mask_embed.layers.2.bias M
        """,
        D=dim,
        P=pyramid,
        M=masks,
        W=channels[3],
        Q=queries,
        K=classes + 1,
    )
    for i in range(layers):
        shapes |= listed(
            """
            sem_seg_head.predictor.transformer.decoder.layers.{i}.self_attn.in_proj_weight 3*D D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.self_attn.in_proj_bias 3*D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.self_attn.out_proj.weight D D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.self_attn.out_proj.bias D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.multihead_attn.in_proj_weight 3*D D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.multihead_attn.in_proj_bias 3*D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.multihead_attn.out_proj.weight D D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.multihead_attn.out_proj.bias D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.linear1.weight F D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.linear1.bias F
            sem_seg_head.predictor.transformer.decoder.layers.{i}.linear2.weight D F
            sem_seg_head.predictor.transformer.decoder.layers.{i}.linear2.bias D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm1.weight D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm1.bias D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm2.weight D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm2.bias D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm3.weight D
            sem_seg_head.predictor.transformer.decoder.layers.{i}.norm3.bias D
            """,  # noqa: E501
            i=i,
            D=dim,
            F=feedforward,
        )
    return shapes


def oneformer(channels: Sequence[int], query_layers: int = 2, **numbers: int) -> Shapes:
    """All of OneFormer but the backbone, with the text tower of a training, in small.

    ``numbers`` are those of :func:`mask2former`, whose pixel decoder and layers it has.
    """
    shapes = mask2former(channels, **numbers)
    (dim,) = shapes["sem_seg_head.predictor.decoder_norm.weight"]
    forward = shapes["sem_seg_head.predictor.transformer_ffn_layers.0.linear1.weight"][0]
    del shapes["sem_seg_head.predictor.query_feat.weight"]
    at = "sem_seg_head.predictor.class_transformer.decoder"
    for i in range(query_layers):
        for part in ("self_attn", "multihead_attn"):
            shapes |= listed(
                """
                {at}.layers.{i}.{part}.in_proj_weight 3*D D
                {at}.layers.{i}.{part}.in_proj_bias 3*D
                {at}.layers.{i}.{part}.out_proj.weight D D
                {at}.layers.{i}.{part}.out_proj.bias D
                """.replace("{at}", at).replace("{part}", part),
                i=i,
                D=dim,
            )
        shapes |= listed(
            """
            {at}.layers.{i}.linear1.weight F D
            {at}.layers.{i}.linear1.bias F
            {at}.layers.{i}.linear2.weight D F
            {at}.layers.{i}.linear2.bias D
            {at}.layers.{i}.norm1.weight D
            {at}.layers.{i}.norm1.bias D
            {at}.layers.{i}.norm2.weight D
            {at}.layers.{i}.norm2.bias D
            {at}.layers.{i}.norm3.weight D
            {at}.layers.{i}.norm3.bias D
            """.replace("{at}", at),
            i=i,
            D=dim,
            F=forward,
        )
    return shapes | listed(
        """
        {at}.norm.weight D
        {at}.norm.bias D
        sem_seg_head.predictor.class_input_proj.weight D D 1 1
        sem_seg_head.predictor.class_input_proj.bias D
        task_mlp.layers.0.weight D 77
        task_mlp.layers.0.bias D
        task_mlp.layers.1.weight D D
        task_mlp.layers.1.bias D
        criterion.logit_scale
        prompt_ctx.weight 16 8
        text_encoder.token_embedding.weight 9 8
        text_encoder.positional_embedding 77 8
        text_encoder.transformer.resblocks.0.attn.in_proj_weight 24 8
        text_encoder.transformer.resblocks.0.attn.in_proj_bias 24
        text_encoder.transformer.resblocks.0.attn.out_proj.weight 8 8
        text_encoder.transformer.resblocks.0.attn.out_proj.bias 8
        text_encoder.transformer.resblocks.0.ln_1.weight 8
        text_encoder.transformer.resblocks.0.mlp.c_fc.weight 32 8
        text_encoder.transformer.resblocks.0.mlp.c_proj.bias 8
        text_encoder.ln_final.weight 8
        text_projector.layers.0.weight D 8
        text_projector.layers.1.bias D
        """.replace("{at}", at),
        D=dim,
    )


def older(name: str) -> str:
    """The name that a tensor had before the authors renamed their modules."""
    name = name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.")
    return name.replace("predictor.query_feat.", "predictor.static_query.")


def filled(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of these shapes, such that activations keep a sensible size."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        if last in ("num_batches_tracked", "relative_position_index"):
            tensors[name] = torch.full(shape, 7, dtype=torch.int64)
            continue
        noise = torch.randn(shape, generator=generator)
        if last == "running_var":
            tensors[name] = 0.5 + noise.abs()
        elif len(shape) > 1 and not name.endswith(("embed.weight", "query.weight", "feat.weight")):
            tensors[name] = noise / math.prod(shape[1:]) ** 0.5
        elif len(shape) == 1 and last == "weight":
            tensors[name] = 1 + 0.2 * noise
        else:
            tensors[name] = 0.5 * noise
    return tensors
