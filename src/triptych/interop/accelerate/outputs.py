"""What our networks say, in the output objects of transformers."""

from __future__ import annotations

import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn

from triptych.interop.accelerate.uncovered import Uncovered
from triptych.networks.contract import TASKS, Task
from triptych.networks.decoders.task import sentence


class LastQueries:
    """Keeps what a module gives, or is given, in each thread: the queries of the last layer.

    Args:
        module: is called once for each answer that counts; the last call stays.
        given: what it is given, in place of what it gives.
    """

    def __init__(self, module: nn.Module, *, given: bool = False) -> None:
        self._local = threading.local()

        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._local.queries = inputs[0] if given else output

        module.register_forward_hook(keep)

    def take(self) -> Tensor:
        """The queries ``(B, N, C)`` of this thread's last answer, which are then forgotten."""
        queries: Tensor = self._local.queries
        del self._local.queries
        return queries


class Answers:
    """How one family answers; a class for each.

    Args:
        network: ours.
        module: where their output class stands, by name.
    """

    kind: str
    """Name of their output class."""

    def __init__(self, network: Any, module: str) -> None:
        self.network = network
        self.output = getattr(sys.modules[module], self.kind)
        self.prepare()

    def prepare(self) -> None:
        """Hang into the network what an answer needs beside masks and classes."""

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """Their output for normalised pixels ``(B, 3, H, W)``.

        Raises:
            Uncovered: theirs has to run.
        """
        raise NotImplementedError


class SegFormerAnswers(Answers):
    """``SegformerForSemanticSegmentation``."""

    kind = "SemanticSegmenterOutput"

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        return self.output(logits=self.network(pixels).mask_logits.contiguous())


class Mask2FormerAnswers(Answers):
    """``Mask2FormerForUniversalSegmentation``."""

    kind = "Mask2FormerForUniversalSegmentationOutput"

    def prepare(self) -> None:
        """See :class:`Answers`."""
        self.queries = LastQueries(self.network.query_decoder.layers[-1])

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        maps = self.network.backbone(pixels)
        features = self.network.pixel_decoder(maps)
        prediction = self.network.decode(features)
        return self.output(
            class_queries_logits=prediction.class_logits,
            masks_queries_logits=prediction.mask_logits.contiguous(),
            encoder_last_hidden_state=maps[-1].contiguous(),
            pixel_decoder_last_hidden_state=features.mask_features.contiguous(),
            transformer_decoder_last_hidden_state=self.queries.take(),
        )


class MaskFormerAnswers(Mask2FormerAnswers):
    """``MaskFormerForInstanceSegmentation``."""

    kind = "MaskFormerForInstanceSegmentationOutput"

    def prepare(self) -> None:
        """See :class:`Answers`."""
        self.queries = LastQueries(self.network.query_decoder.head.classes, given=True)


class OneFormerAnswers(Answers):
    """``OneFormerForUniversalSegmentation``, without what only its losses read.

    Predictions of earlier layers stand in their output whether they are asked for or not; here
    they are None, as is the contrastive part.
    """

    kind = "OneFormerForUniversalSegmentationOutput"

    def prepare(self) -> None:
        """See :class:`Answers`."""
        self.queries = LastQueries(self.network.query_decoder.masked.layers[-1])

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        if pixels.dtype != torch.float32:
            # The ids of a sentence are rounded there, and here they are not.
            raise Uncovered("a task token in half precision has its own roundings")
        task = task_of(given.get("task_inputs"), len(pixels))
        maps = self.network.backbone(pixels)
        features = self.network.pixel_decoder(maps)
        prediction = self.network.decode(features, task)
        token = self.network.query_decoder.task(task.name)
        return self.output(
            class_queries_logits=prediction.class_logits,
            masks_queries_logits=prediction.mask_logits.contiguous(),
            encoder_hidden_states=tuple(each.contiguous() for each in maps),
            pixel_decoder_hidden_states=(features.mask_features, *features.memory),
            transformer_decoder_object_queries=self.queries.take(),
            transformer_decoder_mask_predictions=prediction.mask_logits,
            transformer_decoder_class_predictions=prediction.class_logits,
            task_token=token.expand(len(pixels), -1),
        )


def task_of(ids: Any, batch: int) -> Task:
    """Which task the tokens ``(B, 77)`` of a batch name.

    Raises:
        Uncovered: they name none of the three, or several.
    """
    if isinstance(ids, Tensor) and ids.ndim == 2 and len(ids) in (1, batch):
        for name in TASKS:
            known = sentence(name).to(ids)
            if ids.shape[1] == len(known) and torch.equal(ids, known.expand_as(ids)):
                return Task(name)
    raise Uncovered("the task is none of the three, or differs within the batch")
