"""The front door: a network with everything around it, from a picture to its set of masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from triptych.checkpoints.folder import ModelConfig, write_folder
from triptych.checkpoints.transformers import write_transformers
from triptych.checkpoints.types import weight_type
from triptych.classes import Classes
from triptych.engines.folder import Exported
from triptych.engines.registry import make_engine
from triptych.errors import TriptychError
from triptych.image.decode import MAX_PIXELS_IN_WINDOWS
from triptych.image.preprocess import Batch, ImageLike, Preprocess, load_image
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.windows.layout import Windows
from triptych.windows.mask_sets import WindowedMasks, packed


class Segmenter:
    """A network, how its input is prepared, and what its classes mean.

    Calling it with a picture gives a :class:`triptych.mask_set.MaskSet`, with a list of pictures a
    list of them. The network is put into evaluation mode; it computes on the device, and in the
    type, of its weights.

    Args:
        model: maps pixels ``(B, 3, Hn, Wn)`` to a ``Prediction``; see ``triptych.networks.models``.
        preprocess: where it pads, its ``size_divisor`` is raised to what the network asks for.
        classes: the ``K`` classes.
        readings: how its masks are read unless the caller says otherwise.
        name: for reports.
        autocast: compute in this type where the engine thinks it safe (``torch.bfloat16``),
            with weights as they are.
        family: with ``arguments``, how :func:`triptych.networks.models.registry.build` makes the
            network; only :meth:`save` needs them.
        arguments: see ``family``.
        training: how the weights were trained, which further training follows; see
            :class:`triptych.checkpoints.folder.ModelConfig`.
        notes: free remarks, saved along.
        engine: what runs the network, a name in :data:`triptych.engines.registry.ENGINES`; it
            becomes ``.engine``.
        exported: graphs for that engine that were made before.

    Raises:
        TriptychError: the engine is not there, or cannot run where the network is.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        classes: Classes,
        readings: ReadingSettings | None = None,
        name: str = "",
        *,
        autocast: torch.dtype | None = None,
        family: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
        engine: str = "eager",
        exported: Exported | None = None,
    ) -> None:
        self.engine = make_engine(engine, model.eval(), exported)
        self.preprocess = preprocess
        if preprocess.pad:
            divisor = math.lcm(preprocess.size_divisor, int(getattr(model, "size_divisor", 1)))
            self.preprocess = dataclasses.replace(preprocess, size_divisor=divisor)
        self.classes = classes
        self.readings = readings or ReadingSettings()
        self.name = name
        self.autocast = autocast
        self.family = family
        self.arguments = dict(arguments or {})
        self.training = dict(training or {})
        self.notes = dict(notes or {})

    @property
    def model(self) -> nn.Module:
        """The network; ``engine`` runs it."""
        return self.engine.model

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.model.parameters()).dtype

    @overload
    def __call__(
        self, images: ImageLike, *, batch_size: int = 1, windows: None = None
    ) -> MaskSet: ...
    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, batch_size: int = 1, windows: None = None
    ) -> list[MaskSet]: ...
    @overload
    def __call__(
        self, images: ImageLike, *, batch_size: int = 1, windows: Windows
    ) -> WindowedMasks: ...
    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, batch_size: int = 1, windows: Windows
    ) -> list[WindowedMasks]: ...
    def __call__(
        self,
        images: ImageLike | list[Any] | tuple[Any, ...],
        *,
        batch_size: int = 1,
        windows: Windows | None = None,
    ) -> MaskSet | WindowedMasks | list[MaskSet] | list[WindowedMasks]:
        """Find the masks of one picture, or of each picture in a list.

        Args:
            images: anything that :func:`triptych.image.preprocess.load_image` accepts, or a list or
                tuple of such.
            batch_size: the most pictures that are decoded and go through the network at a time.
                More than one pays on a GPU; a CPU is as quick, or quicker, one by one.
            windows: cut every picture into these, which go through the network like pictures;
                for large ones.

        Raises:
            TriptychError: a picture cannot be read, the memory does not suffice, or
                ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise TriptychError(f"batch_size is {batch_size}; it must be at least 1")
        if windows is not None:
            if isinstance(images, list | tuple):
                return [self(image, batch_size=batch_size, windows=windows) for image in images]
            pixels = load_image(images, MAX_PIXELS_IN_WINDOWS)
            return self.segment_windows(pixels, windows, batch_size)
        if not isinstance(images, list | tuple):
            return self.segment([load_image(images)])[0]
        found: list[MaskSet] = []
        for start in range(0, len(images), batch_size):
            found += self.segment([load_image(i) for i in images[start : start + batch_size]])
        return found

    def segment(self, images: Sequence[Tensor]) -> list[MaskSet]:
        """Find the masks of decoded images, uint8 ``(H, W, 3)``.

        Those that need network inputs of the same size go through the network together. Others
        never meet: padding one image to the size of another would change what a network sees of
        it (convolutions and attention reach into the padding), and results would depend on
        the company an image happens to be in.

        Raises:
            TriptychError: an image would grow too large, or the memory does not suffice.
        """
        plans = [self.preprocess.plan((image.shape[0], image.shape[1])) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            groups.setdefault(plan.input_size, []).append(index)
        found: dict[int, MaskSet] = {}
        for members in groups.values():
            batch = self.preprocess([images[i] for i in members], [plans[i] for i in members])
            found.update(zip(members, self._forward(batch), strict=True))
        return [found[index] for index in range(len(images))]

    def segment_windows(
        self, image: Tensor, windows: Windows, batch_size: int = 1
    ) -> WindowedMasks:
        """Find the masks of a decoded image, uint8 ``(H, W, 3)``, window by window.

        Raises:
            TriptychError: as :meth:`segment`.
        """
        size = (int(image.shape[0]), int(image.shape[1]))
        places = windows.over(size)
        found = (
            masks
            for start in range(0, len(places), batch_size)
            for masks in self.segment([image[at.area] for at in places[start : start + batch_size]])
        )
        parts = tuple(found if len(places) == 1 else packed(found, len(places)))
        return WindowedMasks(tuple(places), parts, size)

    def _forward(self, batch: Batch) -> Iterator[MaskSet]:
        pixels = batch.pixels.to(self.device, self.dtype)
        try:
            prediction = self.engine(pixels, self.autocast)
        except RuntimeError as error:
            # CUDA has a type of its own for this; the CPU only says so.
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate" in str(error):
                count, _, height, width = batch.pixels.shape
                raise TriptychError(
                    f"not enough memory for a network input of {count} x {height} x {width} "
                    "pixels; use a smaller batch, or smaller images"
                ) from error
            raise
        for index, geometry in enumerate(batch.geometries):
            logits = prediction.class_logits
            # Copies: ordinary tensors outside inference mode, and keeping one mask set of a
            # batch does not keep the others.
            yield MaskSet(
                prediction.mask_logits[index].to(torch.float32, copy=True),
                None if logits is None else logits[index].to(torch.float32, copy=True),
                self.classes,
                geometry,
                competition=self.model.competition,  # type: ignore[arg-type]
                readings=self.readings,
            )

    def save(
        self,
        folder: str | Path,
        dtype: torch.dtype | str | None = None,
        format: Literal["triptych", "transformers"] = "triptych",
    ) -> None:
        """Write a checkpoint folder, which :func:`load` reads.

        Args:
            folder: made if it is not there.
            dtype: type of the weights in the file, as :func:`load` takes it; ``torch.float16``
                halves it. That of the weights by default.
            format: ours, or what transformers' ``from_pretrained`` reads too.

        Raises:
            TriptychError: the folder cannot be written, a weight is not finite, ``family`` and
                ``arguments`` were not given, or transformers has no such network.
        """
        if self.family is None:
            raise TriptychError(
                "cannot save a segmenter without knowing how its network is built; give it "
                "family and arguments"
            )
        if format not in _WRITERS:
            raise TriptychError(f"no format is called {format!r}; use {' or '.join(_WRITERS)}")
        config = ModelConfig(
            self.family,
            self.arguments,
            self.classes,
            self.preprocess,
            self.readings,
            self.training,
            self.notes,
        )
        kind = weight_type(dtype)
        state = self.model.state_dict()
        _WRITERS[format](Path(folder), config, state, None if kind == "auto" else kind)


_WRITERS = {"triptych": write_folder, "transformers": write_transformers}
