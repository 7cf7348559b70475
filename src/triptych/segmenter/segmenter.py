"""The front door: a network with everything around it, from a picture to its set of masks."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Unpack, overload

import torch
from torch import Tensor, nn

from triptych.checkpoints.folder import ModelConfig, write_folder
from triptych.checkpoints.transformers import write_transformers
from triptych.checkpoints.types import weight_type
from triptych.class_table import ClassTable, Merged, Regrouping
from triptych.classes import Classes
from triptych.engines.folder import Exported
from triptych.engines.parts import two_halves
from triptych.engines.registry import make_engine
from triptych.errors import TriptychError
from triptych.image.decode import MAX_PIXELS_IN_WINDOWS
from triptych.image.geometry import image_token
from triptych.image.preprocess import ImageLike, Preprocess, load_image
from triptych.mask_set import MaskSet
from triptych.networks.contract import Prompts, Task
from triptych.readings.settings import ReadingSettings
from triptych.segmenter.encoded import Answering, EncodedImage
from triptych.segmenter.memory import input_of, memory_told
from triptych.segmenter.question import Asking, Question, misunderstood
from triptych.segmenter.windows import point_in_windows
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
        self._merged: Merged | None = None  # the classes of the network as `classes`
        self._network_classes = classes

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

    @property
    def asks(self) -> frozenset[type]:
        """What can be said to the network; see :class:`triptych.networks.contract.Network`."""
        return self._answering().asks

    @property
    def task(self) -> str | None:
        """The task that the network is told where nobody says another; None: it is told none."""
        return self._answering().task

    def require(self, *readings: str) -> None:
        """See that its masks have these readings, before it works for them.

        Raises:
            TriptychError: it answers prompts, whose masks have no classes.
        """
        if Prompts in self.asks:
            raise TriptychError(
                f"{self.name or 'this network'} answers points and boxes: its masks have no "
                f"classes to read {', '.join(readings)} from; ask it from Python (docs/asking.md)"
            )

    @property
    def network_classes(self) -> Classes:
        """Those that the weights are for; ``classes`` are made of them by :meth:`regroup`."""
        return self.classes if self._merged is None else self._network_classes

    @property
    def table(self) -> ClassTable | None:
        """What :meth:`regroup` made ``classes`` of, in classes of the network; None: nothing."""
        return None if self._merged is None else self._merged.table(self._network_classes)

    def regroup(self, table: Regrouping | ClassTable) -> Segmenter:
        """The same network with other classes: its own in groups, whose probabilities add up.

        What no group lists joins "no object"; of pixel labellers it is void where it wins. The
        groups are made of the present classes, also where these are groups themselves.

        Args:
            table: new names with the classes of each, such as
                ``{"vehicle": ["car", "bus"], "person": []}``; an empty list is the class of that
                name.

        Returns:
            A segmenter that shares network, weights and engine with this one.

        Raises:
            TriptychError: the table is empty, names a class that is not there, has one in two
                groups, or mixes things and stuff in one.
        """
        if Prompts in self.asks:
            raise TriptychError("masks of a promptable network have no classes to be regrouped")
        merged = ClassTable.of(table).regroup(self.classes)
        twin = copy.copy(self)
        twin._network_classes = self.network_classes
        twin._merged = merged if self._merged is None else self._merged.then(merged)
        twin.classes = merged.classes
        return twin

    @overload
    def __call__(
        self,
        images: ImageLike,
        *,
        batch_size: int = 1,
        windows: None = None,
        **ask: Unpack[Asking],
    ) -> MaskSet: ...
    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        batch_size: int = 1,
        windows: None = None,
        **ask: Unpack[Asking],
    ) -> list[MaskSet]: ...
    @overload
    def __call__(
        self, images: ImageLike, *, batch_size: int = 1, windows: Windows, **ask: Unpack[Asking]
    ) -> WindowedMasks: ...
    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        batch_size: int = 1,
        windows: Windows,
        **ask: Unpack[Asking],
    ) -> list[WindowedMasks]: ...
    def __call__(
        self,
        images: ImageLike | list[Any] | tuple[Any, ...],
        *,
        batch_size: int = 1,
        windows: Windows | None = None,
        **ask: Unpack[Asking],
    ) -> MaskSet | WindowedMasks | list[MaskSet] | list[WindowedMasks]:
        """Find the masks of one picture, or of each picture in a list.

        Args:
            images: anything that :func:`triptych.image.preprocess.load_image` accepts, or a list or
                tuple of such.
            batch_size: the most pictures that are decoded and go through the network at a time.
                More than one pays on a GPU; a CPU is as quick, or quicker, one by one.
            windows: cut every picture into these, which go through the network like pictures;
                for large ones. A prompt goes to the window in which it lies deepest.
            ask: what :meth:`EncodedImage.__call__` takes: a task for every picture ("panoptic"
                by default, for networks that are told one), or prompts about one picture.

        Raises:
            TriptychError: a picture cannot be read, the memory does not suffice, ``batch_size`` is
                below 1, or the network does not understand what is asked.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise TriptychError(f"batch_size is {batch_size!r}; it must be at least 1")
        if not (windows is None or isinstance(windows, Windows)):
            raise TriptychError(f"windows= is {windows!r}; give triptych.Windows(size, overlap)")
        if unknown := ask.keys() - Asking.__annotations__.keys():
            known = ", ".join(f"{name}=" for name in Asking.__annotations__)
            raise TypeError(f"a segmenter takes no {min(unknown)}=; it can be asked by {known}")
        question = Question(**ask)
        question.check(self.asks)
        if question.points_at_something:
            if isinstance(images, list | tuple):
                raise TriptychError("prompts are about one image; give one, not a list")
            if windows is None:
                return self.encode(images)(**ask)
            pixels = load_image(images, MAX_PIXELS_IN_WINDOWS)
            return point_in_windows(self.encode, pixels, windows, question)
        task = question.task or self.task
        if windows is not None:
            if isinstance(images, list | tuple):
                return [
                    self(image, batch_size=batch_size, windows=windows, **ask) for image in images
                ]
            pixels = load_image(images, MAX_PIXELS_IN_WINDOWS)
            return self.segment_windows(pixels, windows, batch_size, task=task)
        if not isinstance(images, list | tuple):
            return self.segment([load_image(images)], task=task)[0]
        found: list[MaskSet] = []
        for start in range(0, len(images), batch_size):
            some = [load_image(i) for i in images[start : start + batch_size]]
            found += self.segment(some, task=task)
        return found

    def encode(self, image: ImageLike) -> EncodedImage:
        """Look at one picture, to ask about it as often as one likes.

        Raises:
            TriptychError: it cannot be read, would grow too large, the memory does not suffice, or
                the network looks and answers in one go only.
        """
        two_halves(self.model)  # refused before the picture is read
        pixels = load_image(image)
        plan = self.preprocess.plan((pixels.shape[0], pixels.shape[1]))
        batch = self.preprocess([pixels], [plan])
        with memory_told(f"{input_of(batch)}; use a smaller image"):
            features = self.engine.encode(batch.pixels.to(self.device, self.dtype), self.autocast)
        return EncodedImage(features, plan, image_token(pixels), self._answering())

    def with_classes(self, classes: Any, things: Sequence[str] = ()) -> NoReturn:
        """The same network with other classes; no family here has an open vocabulary.

        Raises:
            TriptychError: always; the line says what the network understands.
        """
        raise misunderstood("other classes", self.asks)

    def segment(self, images: Sequence[Tensor], *, task: str | None = None) -> list[MaskSet]:
        """Find the masks of decoded images, uint8 ``(H, W, 3)``.

        Those that need network inputs of the same size go through the network together. Others
        never meet: padding one image to the size of another would change what a network sees of
        it (convolutions and attention reach into the padding), and results would depend on
        the company an image happens to be in.

        Args:
            images: the images.
            task: for networks that are told one. None: each reading is that of its own task, from
                one encoding.

        Raises:
            TriptychError: an image would grow too large, the memory does not suffice, or the
                network answers prompts alone.
        """
        Question(task).check(self.asks)
        plans = [self.preprocess.plan((image.shape[0], image.shape[1])) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            groups.setdefault(plan.input_size, []).append(index)
        # Its own task is what a network answers without an ask, which graphs know as a whole.
        ask = Task(task) if task and task != self.task else None  # type: ignore[arg-type]
        found: dict[int, MaskSet] = {}
        for members in groups.values():
            batch = self.preprocess([images[i] for i in members], [plans[i] for i in members])
            with memory_told(f"{input_of(batch)}; use a smaller batch, or smaller images"):
                pixels = batch.pixels.to(self.device, self.dtype)
                if task is None and Task in self.asks:
                    masks = self._answering().for_readings(pixels, batch.geometries)
                else:
                    prediction = self.engine(pixels, self.autocast, ask)
                    masks = self._answering().mask_sets(prediction, batch.geometries, task=task)
                found.update(zip(members, masks, strict=True))
        return [found[index] for index in range(len(images))]

    def for_readings(self, image: ImageLike) -> MaskSet:
        """Find the masks of one picture; each reading is that of its own task.

        Raises:
            TriptychError: as calling it.
        """
        return self.segment([load_image(image)])[0]

    def segment_windows(
        self, image: Tensor, windows: Windows, batch_size: int = 1, *, task: str | None = None
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
            for masks in self.segment(
                [image[at.area] for at in places[start : start + batch_size]], task=task
            )
        )
        parts = tuple(found if len(places) == 1 else packed(found, len(places)))
        return WindowedMasks(tuple(places), parts, size)

    def _answering(self) -> Answering:
        return Answering(
            self.engine, self.autocast, self.network_classes, self.readings, self._merged
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
                ``arguments`` were not given, or transformers has no such network, or no place for
                a regrouping.
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
            self.network_classes,
            self.preprocess,
            self.readings,
            self.training,
            self.notes,
            self.table,
        )
        kind = weight_type(dtype)
        state = self.model.state_dict()
        _WRITERS[format](Path(folder), config, state, None if kind == "auto" else kind)


_WRITERS = {"triptych": write_folder, "transformers": write_transformers}
