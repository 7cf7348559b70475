"""Tensors of Swin, as transformers, its authors and detectron2 name them."""

from __future__ import annotations

from triptych.checkpoints.keymap import Drop, Rename, Stack, under

_ENCODER_RULES = (
    Rename("embeddings.patch_embeddings.projection.{p}", "embed.{p}"),
    Rename("embeddings.norm.{p}", "embed_norm.{p}"),
    *under(
        (
            Rename("layernorm_before.{p}", "norm1.{p}"),
            Stack(
                tuple(f"attention.self.{part}.{{p}}" for part in ("query", "key", "value")),
                "attention.query_key_value.{p}",
            ),
            Rename("attention.self.relative_position_bias_table", "attention.bias_table"),
            Drop("attention.self.relative_position_index"),
            Rename("attention.output.dense.{p}", "attention.out.{p}"),
            Rename("layernorm_after.{p}", "norm2.{p}"),
            Rename("intermediate.dense.{p}", "feedforward.0.{p}"),
            Rename("output.dense.{p}", "feedforward.2.{p}"),
        ),
        "encoder.layers.{s}.blocks.{b}.",
        "stages.{s}.{b}.",
    ),
    Rename("encoder.layers.{s}.downsample.{part}.{p}", "merges.{s}.{part}.{p}"),
)

SWIN_RULES = (
    *_ENCODER_RULES,
    # The norm of the classifier that the backbone was trained with.
    Drop("swin.layernorm.{p}"),
    *(Rename(f"hidden_states_norms.stage{n + 1}.{{p}}", f"norms.{n}.{{p}}") for n in range(4)),
)
"""Names in files that transformers wrote (``SwinBackbone``)."""

MASKFORMER_SWIN_RULES = (
    *under(_ENCODER_RULES, "model.", ""),
    Drop("model.layernorm.{p}"),  # the same norm
    Rename("hidden_states_norms.{n}.{p}", "norms.{n}.{p}"),
)
"""Names in files that transformers wrote, of the Swin below a MaskFormer there
(``MaskFormerSwinBackbone``)."""

SWIN_ORIGINAL_RULES = (
    Rename("patch_embed.proj.{p}", "embed.{p}"),
    Rename("patch_embed.norm.{p}", "embed_norm.{p}"),
    *under(
        (
            Rename("norm1.{p}", "norm1.{p}"),
            Rename("attn.qkv.{p}", "attention.query_key_value.{p}"),
            Rename("attn.relative_position_bias_table", "attention.bias_table"),
            Drop("attn.relative_position_index"),
            Rename("attn.proj.{p}", "attention.out.{p}"),
            Rename("norm2.{p}", "norm2.{p}"),
            Rename("mlp.fc1.{p}", "feedforward.0.{p}"),
            Rename("mlp.fc2.{p}", "feedforward.2.{p}"),
        ),
        "layers.{s}.blocks.{b}.",
        "stages.{s}.{b}.",
    ),
    Rename("layers.{s}.downsample.{part}.{p}", "merges.{s}.{part}.{p}"),
    *(Rename(f"norm{n}.{{p}}", f"norms.{n}.{{p}}") for n in range(4)),
)
"""Names in files of Swin's authors, and of MaskFormer and Mask2Former in detectron2."""
