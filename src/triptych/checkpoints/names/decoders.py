"""Tensors of attention and of the decoders, as transformers and the authors name them."""

from __future__ import annotations

from triptych.checkpoints.keymap import Drop, Rename, Stack, under

PACKED_ATTENTION_RULES = (
    Stack("in_proj_{p}", tuple(f"{part}.{{p}}" for part in ("query", "key", "value"))),
    Rename("out_proj.{p}", "out.{p}"),
)
"""Names of PyTorch's ``nn.MultiheadAttention``, which has one matrix for the three."""

DEFORMABLE_ATTENTION_RULES = (
    Rename("sampling_offsets.{p}", "offsets.{p}"),
    Rename("attention_weights.{p}", "scores.{p}"),
    Rename("value_proj.{p}", "value.{p}"),
    Rename("output_proj.{p}", "out.{p}"),
)
"""Names in files that transformers or Deformable DETR's authors wrote."""

DEFORMABLE_PIXEL_RULES = (
    Rename("input_projections.{i}.{j}.{p}", "project.{i}.{j}.{p}"),
    Rename("level_embed", "level.weight"),
    *under(
        (
            *under(DEFORMABLE_ATTENTION_RULES, "self_attn.", "attention."),
            Rename("self_attn_layer_norm.{p}", "norm1.{p}"),
            Rename("fc1.{p}", "linear1.{p}"),
            Rename("fc2.{p}", "linear2.{p}"),
            Rename("final_layer_norm.{p}", "norm2.{p}"),
        ),
        "encoder.layers.{i}.",
        "encoder.{i}.",
    ),
    Rename("adapter_1.{j}.{p}", "lateral.{j}.{p}"),
    Rename("layer_1.{j}.{p}", "smooth.{j}.{p}"),
    Rename("mask_projection.{p}", "mask_features.{p}"),
)
"""Names in files that transformers wrote, below ``model.pixel_level_module.decoder.``."""

DEFORMABLE_PIXEL_ORIGINAL_RULES = (
    # Coarse to fine there too: input_proj.0 takes the map at 1/32.
    Rename("input_proj.{i}.{j}.{p}", "project.{i}.{j}.{p}"),
    Rename("transformer.level_embed", "level.weight"),
    *under(
        (
            *under(DEFORMABLE_ATTENTION_RULES, "self_attn.", "attention."),
            *(Rename(f"{p}.{{p}}", f"{p}.{{p}}") for p in ("norm1", "linear1", "linear2", "norm2")),
        ),
        "transformer.encoder.layers.{i}.",
        "encoder.{i}.",
    ),
    Rename("adapter_1.weight", "lateral.0.weight"),
    Rename("adapter_1.norm.{p}", "lateral.1.{p}"),
    Rename("layer_1.weight", "smooth.0.weight"),
    Rename("layer_1.norm.{p}", "smooth.1.{p}"),
    Rename("mask_features.{p}", "mask_features.{p}"),
)
"""Names in the authors' files (detectron2), below ``sem_seg_head.pixel_decoder.``."""

FPN_PIXEL_RULES = (
    Rename("fpn.stem.{j}.{p}", "stem.{j}.{p}"),
    Rename("fpn.layers.{i}.proj.{j}.{p}", "steps.{i}.lateral.{j}.{p}"),
    Rename("fpn.layers.{i}.block.{j}.{p}", "steps.{i}.smooth.{j}.{p}"),
    Rename("mask_projection.{p}", "mask_features.{p}"),
)
"""Names in files that transformers wrote, below ``model.pixel_level_module.decoder.``."""

FPN_PIXEL_ORIGINAL_RULES = (
    Rename("layer_4.weight", "stem.0.weight"),
    Rename("layer_4.norm.{p}", "stem.1.{p}"),
    # Numbered from the finest map; ours from the coarsest.
    *(
        Rename(f"{theirs}_{3 - i}.{p}", f"steps.{i}.{ours}.{q}")
        for i in range(3)
        for theirs, ours in (("adapter", "lateral"), ("layer", "smooth"))
        for p, q in (("weight", "0.weight"), ("norm.{p}", "1.{p}"))
    ),
    Rename("mask_features.{p}", "mask_features.{p}"),
)
"""Names in the authors' files (detectron2), below ``sem_seg_head.pixel_decoder.``."""

QUERY_DECODER_RULES = (
    Rename("queries_features.weight", "query_content.weight"),
    Rename("queries_embedder.weight", "query_position.weight"),
    Rename("level_embed.weight", "level.weight"),
    *under(
        (
            Stack(
                "cross_attn.in_proj_{p}",
                tuple(f"cross_attention.{part}.{{p}}" for part in ("query", "key", "value")),
            ),
            Rename("cross_attn.out_proj.{p}", "cross_attention.out.{p}"),
            Rename("cross_attn_layer_norm.{p}", "norm1.{p}"),
            Rename("self_attn.q_proj.{p}", "self_attention.query.{p}"),
            Rename("self_attn.k_proj.{p}", "self_attention.key.{p}"),
            Rename("self_attn.v_proj.{p}", "self_attention.value.{p}"),
            Rename("self_attn.out_proj.{p}", "self_attention.out.{p}"),
            Rename("self_attn_layer_norm.{p}", "norm2.{p}"),
            Rename("fc1.{p}", "linear1.{p}"),
            Rename("fc2.{p}", "linear2.{p}"),
            Rename("final_layer_norm.{p}", "norm3.{p}"),
        ),
        "decoder.layers.{i}.",
        "layers.{i}.",
    ),
    Rename("decoder.layernorm.{p}", "norm.{p}"),
    # Every second module of our MLP is a ReLU.
    *(
        Rename(f"decoder.mask_predictor.mask_embedder.{n}.0.{{p}}", f"head.embedding.{2 * n}.{{p}}")
        for n in range(3)
    ),
)
"""Names in files that transformers wrote, below ``model.transformer_module.``; the class head
stands elsewhere in them."""

QUERY_DECODER_ORIGINAL_RULES = (
    Rename("query_feat.weight", "query_content.weight"),
    # The name that query_feat had before the code was published.
    Rename("static_query.weight", "query_content.weight"),
    Rename("query_embed.weight", "query_position.weight"),
    Rename("level_embed.weight", "level.weight"),
    *under(
        (
            *under(PACKED_ATTENTION_RULES, "multihead_attn.", "cross_attention."),
            Rename("norm.{p}", "norm1.{p}"),
        ),
        "transformer_cross_attention_layers.{i}.",
        "layers.{i}.",
    ),
    *under(
        (
            *under(PACKED_ATTENTION_RULES, "self_attn.", "self_attention."),
            Rename("norm.{p}", "norm2.{p}"),
        ),
        "transformer_self_attention_layers.{i}.",
        "layers.{i}.",
    ),
    *under(
        (
            Rename("linear1.{p}", "linear1.{p}"),
            Rename("linear2.{p}", "linear2.{p}"),
            Rename("norm.{p}", "norm3.{p}"),
        ),
        "transformer_ffn_layers.{i}.",
        "layers.{i}.",
    ),
    Rename("decoder_norm.{p}", "norm.{p}"),
    Rename("class_embed.{p}", "head.classes.{p}"),
    *(Rename(f"mask_embed.layers.{n}.{{p}}", f"head.embedding.{2 * n}.{{p}}") for n in range(3)),
)
"""Names in the authors' files (detectron2), below ``sem_seg_head.predictor.``."""

_ATTENTION_RULES = tuple(
    Rename(f"{theirs}_proj.{{p}}", f"{ours}.{{p}}")
    for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out"))
)

DETR_DECODER_RULES = (
    Rename("input_projection.{p}", "project.{p}"),
    Rename("queries_embedder.weight", "query_position.weight"),
    *under(
        (
            *under(_ATTENTION_RULES, "self_attn.", "self_attention."),
            Rename("self_attn_layer_norm.{p}", "norm1.{p}"),
            *under(_ATTENTION_RULES, "encoder_attn.", "cross_attention."),
            Rename("encoder_attn_layer_norm.{p}", "norm2.{p}"),
            Rename("fc1.{p}", "linear1.{p}"),
            Rename("fc2.{p}", "linear2.{p}"),
            Rename("final_layer_norm.{p}", "norm3.{p}"),
        ),
        "decoder.layers.{i}.",
        "layers.{i}.",
    ),
    Rename("decoder.layernorm.{p}", "norm.{p}"),
)
"""Names in files that transformers wrote, below ``model.transformer_module.``; the two heads
stand elsewhere in them."""

DETR_LAYERS_RULES = (
    *under(
        (
            *under(PACKED_ATTENTION_RULES, "self_attn.", "self_attention."),
            *under(PACKED_ATTENTION_RULES, "multihead_attn.", "cross_attention."),
            *(
                Rename(f"{part}.{{p}}", f"{part}.{{p}}")
                for part in ("norm1", "norm2", "linear1", "linear2", "norm3")
            ),
        ),
        "layers.{i}.",
        "layers.{i}.",
    ),
    Rename("norm.{p}", "norm.{p}"),
)
"""Names of the layers of DETR's decoder, and of the norm after them, in its authors' code."""

DETR_DECODER_ORIGINAL_RULES = (
    Rename("input_proj.{p}", "project.{p}"),
    Rename("query_embed.weight", "query_position.weight"),
    *under(DETR_LAYERS_RULES, "transformer.decoder.", ""),
    Rename("class_embed.{p}", "head.classes.{p}"),
    *(Rename(f"mask_embed.layers.{n}.{{p}}", f"head.embedding.{2 * n}.{{p}}") for n in range(3)),
)
"""Names in the authors' files (detectron2), below ``sem_seg_head.predictor.``."""

MLP_DECODER_RULES = (
    Rename("linear_c.{s}.proj.{p}", "projections.{s}.{p}"),
    Rename("linear_fuse.weight", "fuse.weight"),
    Rename("batch_norm.{p}", "norm.{p}"),
    Rename("classifier.{p}", "classifier.{p}"),
)
"""Names in files that transformers wrote, below its ``decode_head.`` prefix."""

MLP_DECODER_ORIGINAL_RULES = (
    *(Rename(f"linear_c{s + 1}.proj.{{p}}", f"projections.{s}.{{p}}") for s in range(4)),
    Rename("linear_fuse.conv.weight", "fuse.weight"),
    Rename("linear_fuse.bn.{p}", "norm.{p}"),
    Rename("linear_pred.{p}", "classifier.{p}"),
    # A classifier that the base class makes and this head never calls.
    Drop("conv_seg.{p}"),
)
"""Names in the authors' files (NVlabs/SegFormer), below ``decode_head.``."""

ONEFORMER_DECODER_RULES = (
    *under(DETR_LAYERS_RULES, "decoder.query_transformer.decoder.", "query_transformer."),
    Rename("decoder.query_input_projection.{p}", "query_transformer.project.{p}"),
    *under(
        (
            Rename("queries_embedder.weight", "query_position.weight"),
            Rename("level_embed.weight", "level.weight"),
            *under(
                (
                    *under(
                        PACKED_ATTENTION_RULES, "cross_attn.multihead_attn.", "cross_attention."
                    ),
                    Rename("cross_attn.norm.{p}", "norm1.{p}"),
                    *under(_ATTENTION_RULES, "self_attn.self_attn.", "self_attention."),
                    Rename("self_attn.norm.{p}", "norm2.{p}"),
                    Rename("ffn.linear1.{p}", "linear1.{p}"),
                    Rename("ffn.linear2.{p}", "linear2.{p}"),
                    Rename("ffn.norm.{p}", "norm3.{p}"),
                ),
                "decoder.layers.{i}.",
                "layers.{i}.",
            ),
            Rename("decoder.decoder_norm.{p}", "norm.{p}"),
            Rename("decoder.class_embed.{p}", "head.classes.{p}"),
            *(
                Rename(f"decoder.mask_embed.layers.{n}.0.{{p}}", f"head.embedding.{2 * n}.{{p}}")
                for n in range(3)
            ),
        ),
        "",
        "masked.",
    ),
)
"""Names in files that transformers wrote, below ``model.transformer_module.``."""
