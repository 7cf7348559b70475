"""Small networks to be measured, and the pictures they get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from triptych.bench.peaks import Peaks
from triptych.bench.subject import Subject, load_network, prepared
from triptych.segmenter import Segmenter

FAMILIES = {
    "segformer": ["channels=[8,16,24,32]", "depths=[1,1,1,1]", "heads=[1,1,2,2]", "decoder_dim=16"],
    "mask2former": [
        "backbone=swin",
        "backbone_arguments={dim: 8, depths: [1,1,1,1], heads: [1,1,2,2], window: 4}",
        "queries=40",
        "dim=32",
        "heads=4",
        "feedforward=32",
        "layers=2",
        "encoder_layers=1",
        "encoder_feedforward=32",
    ],
    "maskformer": [
        "backbone=resnet",
        "backbone_arguments={depths: [1,1,1,1], channels: [8,16,24,32], stem: 8}",
        "queries=40",
        "dim=32",
        "heads=4",
        "feedforward=32",
        "layers=2",
        "pyramid_dim=32",
        "mask_dim=16",
    ],
    "oneformer": [
        "backbone=resnet",
        "backbone_arguments={depths: [1,1,1,1], channels: [8,16,24,32], stem: 8}",
        "queries=40",
        "dim=32",
        "heads=4",
        "feedforward=32",
        "layers=2",
        "query_layers=1",
        "encoder_layers=1",
        "encoder_feedforward=32",
    ],
}
"""Overrides that make a family small; both sides have what they ask for."""

PEAKS = Peaks(operations=1e11, bandwidth=1e10)


def network(family: str, classes: int = 6) -> Segmenter:
    return load_network(None, family, [f"classes={classes}", *FAMILIES[family]], "cpu")


@contextmanager
def subject(family: str) -> Iterator[Subject]:
    with prepared(network(family), None, (96, 64), made_up=True) as found:
        yield found
