"""Tensors of mix transformers (SegFormer's encoder), as transformers and the authors name them."""

from __future__ import annotations

from triptych.checkpoints.keymap import Rename, Rule, Stack, under

MIT_RULES = (
    Rename("encoder.patch_embeddings.{s}.proj.{p}", "stages.{s}.embed.{p}"),
    Rename("encoder.patch_embeddings.{s}.layer_norm.{p}", "stages.{s}.embed_norm.{p}"),
    *under(
        (
            Rename("layer_norm_1.{p}", "norm1.{p}"),
            Rename("attention.self.query.{p}", "attention.query.{p}"),
            Stack(
                ("attention.self.key.{p}", "attention.self.value.{p}"), "attention.key_value.{p}"
            ),
            Rename("attention.self.sr.{p}", "attention.reduce.{p}"),
            Rename("attention.self.layer_norm.{p}", "attention.reduce_norm.{p}"),
            Rename("attention.output.dense.{p}", "attention.out.{p}"),
            Rename("layer_norm_2.{p}", "norm2.{p}"),
            Rename("mlp.dense1.{p}", "feedforward.expand.{p}"),
            Rename("mlp.dwconv.dwconv.{p}", "feedforward.depthwise.{p}"),
            Rename("mlp.dense2.{p}", "feedforward.project.{p}"),
        ),
        "encoder.block.{s}.{b}.",
        "stages.{s}.blocks.{b}.",
    ),
    Rename("encoder.layer_norm.{s}.{p}", "stages.{s}.norm.{p}"),
)
"""Names in files that transformers wrote, below its ``segformer.`` prefix."""


def _original_rules() -> list[Rule]:
    # The authors number stages from 1, and within the name of the module.
    rules: list[Rule] = []
    for stage in range(4):
        number, ours = stage + 1, f"stages.{stage}."
        rules += [
            Rename(f"patch_embed{number}.proj.{{p}}", f"{ours}embed.{{p}}"),
            Rename(f"patch_embed{number}.norm.{{p}}", f"{ours}embed_norm.{{p}}"),
            Rename(f"norm{number}.{{p}}", f"{ours}norm.{{p}}"),
            *under(
                (
                    Rename("norm1.{p}", "norm1.{p}"),
                    Rename("attn.q.{p}", "attention.query.{p}"),
                    Rename("attn.kv.{p}", "attention.key_value.{p}"),
                    Rename("attn.sr.{p}", "attention.reduce.{p}"),
                    Rename("attn.norm.{p}", "attention.reduce_norm.{p}"),
                    Rename("attn.proj.{p}", "attention.out.{p}"),
                    Rename("norm2.{p}", "norm2.{p}"),
                    Rename("mlp.fc1.{p}", "feedforward.expand.{p}"),
                    Rename("mlp.dwconv.dwconv.{p}", "feedforward.depthwise.{p}"),
                    Rename("mlp.fc2.{p}", "feedforward.project.{p}"),
                ),
                f"block{number}.{{b}}.",
                f"{ours}blocks.{{b}}.",
            ),
        ]
    return rules


MIT_ORIGINAL_RULES = tuple(_original_rules())
"""Names in the authors' files (NVlabs/SegFormer), below ``backbone.``."""
