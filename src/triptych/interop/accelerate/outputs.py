"""What our networks say, in the output objects of transformers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.interop.accelerate.uncovered import Uncovered
from triptych.networks.contract import TASKS, Task
from triptych.networks.decoders.task import sentence


class Kept:
    """Keeps what a module gives, or is given, in each thread: queries on their way.

    Args:
        module: is called at least once for each answer.
        given: what it is given, in place of what it gives.
    """

    def __init__(self, module: nn.Module, *, given: bool = False) -> None:
        self._local = threading.local()

        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            queries = inputs[0] if given else output
            self._local.queries = [*getattr(self._local, "queries", ()), queries]

        module.register_forward_hook(keep)

    def take(self) -> list[Tensor]:
        """The queries ``(B, N, C)`` of this thread's last answer, one a call; then forgotten."""
        queries: list[Tensor] = getattr(self._local, "queries", [])
        self._local.queries = []
        return queries


class Earlier(Sequence[dict[str, Tensor]]):
    """Predictions of the decoder's earlier layers, computed where somebody looks at them.

    Args:
        head: of the decoder.
        queries: ``(B, N, C)`` of each layer, normed.
        mask_features: ``(B, C, h, w)``.
    """

    def __init__(self, head: Any, queries: list[Tensor], mask_features: Tensor) -> None:
        self._head, self._queries, self._features = head, queries, mask_features

    def __len__(self) -> int:
        return len(self._queries)

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Tensor]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        with torch.inference_mode(self._features.is_inference()), torch.no_grad():
            classes, masks = self._head(self._queries[index], self._features)
        return {"class_queries_logits": classes, "masks_queries_logits": masks}


class Answers:
    """How one family answers; a class for each.

    Args:
        network: ours.
        theirs: the model of transformers.
    """

    kind: str
    """Name of their output class."""

    asked: frozenset[str] = frozenset()
    """What else can be asked for, by the name of the argument or of the configuration's entry."""

    def __init__(self, network: Any, theirs: Any) -> None:
        self.network, self.config = network, theirs.config
        self.output = getattr(sys.modules[type(theirs).__module__], self.kind)
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
    asked = frozenset({"labels"})

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        labels = given.get("labels")
        if labels is not None and self.config.num_labels == 1:
            raise Uncovered("a single class has a loss of its own")
        logits = self.network(pixels).mask_logits.contiguous()
        loss = None
        if labels is not None:
            full = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear")
            void = self.config.semantic_loss_ignore_index
            loss = F.cross_entropy(full, labels, ignore_index=void)
        return self.output(loss=loss, logits=logits)


class Mask2FormerAnswers(Answers):
    """``Mask2FormerForUniversalSegmentation``."""

    kind = "Mask2FormerForUniversalSegmentationOutput"

    def prepare(self) -> None:
        """See :class:`Answers`."""
        self.queries = Kept(self.network.query_decoder.layers[-1])

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
            transformer_decoder_last_hidden_state=self.queries.take()[-1],
        )


class MaskFormerAnswers(Mask2FormerAnswers):
    """``MaskFormerForInstanceSegmentation``."""

    kind = "MaskFormerForInstanceSegmentationOutput"

    def prepare(self) -> None:
        """See :class:`Answers`."""
        self.queries = Kept(self.network.query_decoder.head.classes, given=True)

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        if self.config.use_auxiliary_loss:
            raise Uncovered("use_auxiliary_loss works with output_hidden_states alone there")
        return super().answer(pixels, given)


class OneFormerAnswers(Answers):
    """``OneFormerForUniversalSegmentation``, whose output always has more than masks and classes.

    Predictions of earlier layers are a sequence that computes them when it is looked into.
    """

    kind = "OneFormerForUniversalSegmentationOutput"
    asked = frozenset({"output_auxiliary_logits"})

    def prepare(self) -> None:
        """See :class:`Answers`."""
        decoder = self.network.query_decoder.masked
        self.first = Kept(decoder.layers[0], given=True)
        self.last = Kept(decoder.layers[-1])
        self.normed = Kept(decoder.norm)

    def answer(self, pixels: Tensor, given: dict[str, Any]) -> Any:
        """See :class:`Answers`."""
        if pixels.dtype != torch.float32:
            # The ids of a sentence are rounded there, and here they are not.
            raise Uncovered("a task token in half precision has its own roundings")
        task = task_of(given.get("task_inputs"), len(pixels))
        maps = self.network.backbone(pixels)
        features = self.network.pixel_decoder(maps)
        prediction = self.network.decode(features, task)
        head = self.network.query_decoder.masked.head
        masks = prediction.mask_logits.contiguous()
        contrastive, last = self.first.take()[0], self.last.take()[-1]
        normed = self.normed.take()[:-1]
        asked = given.get("output_auxiliary_logits")
        if asked is None:
            asked = self.config.output_auxiliary_logits
        earlier = encoder = decoder = None
        if self.config.use_auxiliary_loss:
            earlier = Earlier(head, normed, features.mask_features)
            encoder = tuple(each.contiguous() for each in maps)
            decoder = (features.mask_features, *features.memory)
        return self.output(
            class_queries_logits=prediction.class_logits,
            masks_queries_logits=masks,
            auxiliary_predictions=earlier if asked else None,
            encoder_hidden_states=encoder,
            pixel_decoder_hidden_states=decoder,
            transformer_decoder_hidden_states=earlier,
            transformer_decoder_object_queries=last,
            transformer_decoder_contrastive_queries=contrastive,
            transformer_decoder_mask_predictions=masks,
            transformer_decoder_class_predictions=prediction.class_logits,
            transformer_decoder_auxiliary_predictions=earlier,
            task_token=self.network.query_decoder.task(task.name).expand(len(pixels), -1),
            attentions=((),) * (len(normed)),  # one a layer, of which nothing was asked
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
