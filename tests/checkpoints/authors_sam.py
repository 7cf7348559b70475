"""Names and shapes in the files of segment-anything's authors, listed as facts.

From the modules' definitions in facebookresearch/segment-anything, as in ``authors_names.py``.
"""

from __future__ import annotations

from collections.abc import Collection

from tests.checkpoints.authors_names import Shapes, listed


def sam(
    dim: int,
    depth: int,
    head: int,
    global_blocks: Collection[int],
    *,
    side: int = 64,
    patch: int = 16,
    window: int = 14,
    hidden: int | None = None,
    width: int = 256,
    feedforward: int = 2048,
    quality: int = 256,
) -> Shapes:
    """``sam_vit_b_01ec64.pth`` and its like; ``head`` is the width of one, ``side`` in patches."""
    shapes = listed(
        """
        image_encoder.pos_embed 1 S S C
        image_encoder.patch_embed.proj.weight C 3 P P
        image_encoder.patch_embed.proj.bias C
        image_encoder.neck.0.weight D C 1 1
        image_encoder.neck.1.weight D
        image_encoder.neck.1.bias D
        image_encoder.neck.2.weight D D 3 3
        image_encoder.neck.3.weight D
        image_encoder.neck.3.bias D
        prompt_encoder.pe_layer.positional_encoding_gaussian_matrix 2 H
        prompt_encoder.point_embeddings.0.weight 1 D
        prompt_encoder.point_embeddings.1.weight 1 D
        prompt_encoder.point_embeddings.2.weight 1 D
        prompt_encoder.point_embeddings.3.weight 1 D
        prompt_encoder.not_a_point_embed.weight 1 D
        prompt_encoder.no_mask_embed.weight 1 D
        prompt_encoder.mask_downscaling.0.weight 4 1 2 2
        prompt_encoder.mask_downscaling.0.bias 4
        prompt_encoder.mask_downscaling.1.weight 4
        prompt_encoder.mask_downscaling.1.bias 4
        prompt_encoder.mask_downscaling.3.weight 16 4 2 2
        prompt_encoder.mask_downscaling.3.bias 16
        prompt_encoder.mask_downscaling.4.weight 16
        prompt_encoder.mask_downscaling.4.bias 16
        prompt_encoder.mask_downscaling.6.weight D 16 1 1
        prompt_encoder.mask_downscaling.6.bias D
        mask_decoder.iou_token.weight 1 D
        mask_decoder.mask_tokens.weight 4 D
        mask_decoder.transformer.norm_final_attn.weight D
        mask_decoder.transformer.norm_final_attn.bias D
        mask_decoder.output_upscaling.0.weight D Q 2 2
        mask_decoder.output_upscaling.0.bias Q
        mask_decoder.output_upscaling.1.weight Q
        mask_decoder.output_upscaling.1.bias Q
        mask_decoder.output_upscaling.3.weight Q E 2 2
        mask_decoder.output_upscaling.3.bias E
        mask_decoder.iou_prediction_head.layers.0.weight I D
        mask_decoder.iou_prediction_head.layers.0.bias I
        mask_decoder.iou_prediction_head.layers.1.weight I I
        mask_decoder.iou_prediction_head.layers.1.bias I
        mask_decoder.iou_prediction_head.layers.2.weight 4 I
        mask_decoder.iou_prediction_head.layers.2.bias 4
        """,
        C=dim,
        D=width,
        E=width // 8,
        H=width // 2,
        I=quality,
        P=patch,
        Q=width // 4,
        S=side,
    )
    for n in range(depth):
        shapes |= listed(
            """
            image_encoder.blocks.{n}.norm1.weight C
            image_encoder.blocks.{n}.norm1.bias C
            image_encoder.blocks.{n}.attn.rel_pos_h R G
            image_encoder.blocks.{n}.attn.rel_pos_w R G
            image_encoder.blocks.{n}.attn.qkv.weight 3*C C
            image_encoder.blocks.{n}.attn.qkv.bias 3*C
            image_encoder.blocks.{n}.attn.proj.weight C C
            image_encoder.blocks.{n}.attn.proj.bias C
            image_encoder.blocks.{n}.norm2.weight C
            image_encoder.blocks.{n}.norm2.bias C
            image_encoder.blocks.{n}.mlp.lin1.weight F C
            image_encoder.blocks.{n}.mlp.lin1.bias F
            image_encoder.blocks.{n}.mlp.lin2.weight C F
            image_encoder.blocks.{n}.mlp.lin2.bias C
            """,
            n=n,
            C=dim,
            F=hidden or 4 * dim,
            G=head,
            R=2 * (side if n in global_blocks else window) - 1,
        )
    attention = """
        {at}.q_proj.weight I D
        {at}.q_proj.bias I
        {at}.k_proj.weight I D
        {at}.k_proj.bias I
        {at}.v_proj.weight I D
        {at}.v_proj.bias I
        {at}.out_proj.weight D I
        {at}.out_proj.bias D
        """
    layers = "mask_decoder.transformer.layers"
    attentions = ["mask_decoder.transformer.final_attn_token_to_image"]
    for n in range(2):
        attentions += [
            f"{layers}.{n}.{kind}"
            for kind in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
        ]
        for norm in range(1, 5):
            at = f"{layers}.{n}.norm{norm}"
            shapes |= {f"{at}.weight": (width,), f"{at}.bias": (width,)}
        shapes |= {
            f"{layers}.{n}.mlp.lin1.weight": (feedforward, width),
            f"{layers}.{n}.mlp.lin1.bias": (feedforward,),
            f"{layers}.{n}.mlp.lin2.weight": (width, feedforward),
            f"{layers}.{n}.mlp.lin2.bias": (width,),
        }
    for at in attentions:
        inner = width if at.endswith("self_attn") else width // 2
        shapes |= listed(attention.replace("{at}", at), D=width, I=inner)
    for n in range(4):
        at = f"mask_decoder.output_hypernetworks_mlps.{n}.layers"
        for layer, outputs in enumerate((width, width, width // 8)):
            shapes |= {f"{at}.{layer}.weight": (outputs, width), f"{at}.{layer}.bias": (outputs,)}
    return shapes
