"""The one type that crosses every layer: a set of masks, read three ways."""

from __future__ import annotations

from PIL import Image

from triptych.image.decode import ImageLike, load_image
from triptych.readings.explain import Explanation, explain
from triptych.readings.instance import Instances, read_instances
from triptych.readings.masks import Masks
from triptych.readings.panoptic import PanopticMap, read_panoptic
from triptych.readings.semantic import SemanticMap, read_semantic
from triptych.render.panels import panels


class MaskSet(Masks):
    """What a network says about one image, and its readings; see :class:`Masks` for the fields."""

    def semantic(self) -> SemanticMap:
        """One class for every pixel; see :func:`triptych.readings.semantic.read_semantic`."""
        return read_semantic(self)

    def instances(self, threshold: float | None = None, top: int | None = None) -> Instances:
        """Objects, best first; see :func:`triptych.readings.instance.read_instances`."""
        return read_instances(self, threshold=threshold, top=top)

    def panoptic(self, threshold: float | None = None, overlap: float | None = None) -> PanopticMap:
        """Every pixel in one segment; see :func:`triptych.readings.panoptic.read_panoptic`."""
        return read_panoptic(self, threshold=threshold, overlap=overlap)

    def explain(
        self,
        *,
        instance_threshold: float | None = None,
        top: int | None = None,
        panoptic_threshold: float | None = None,
        overlap: float | None = None,
    ) -> Explanation:
        """Which rule every query fell to; see :func:`triptych.readings.explain.explain`."""
        return explain(
            self,
            instance_threshold=instance_threshold,
            top=top,
            panoptic_threshold=panoptic_threshold,
            overlap=overlap,
        )

    def overlay(self, image: ImageLike) -> Image.Image:
        """The readings that there are side by side over the image.

        See :func:`triptych.render.panels.panels`.

        Args:
            image: the picture this mask set was made from: anything that
                :func:`triptych.image.preprocess.load_image` accepts.
        """
        semantic = self.semantic() if "semantic" in self.offers else None
        panoptic = self.panoptic() if "panoptic" in self.offers else None
        return panels(load_image(image), semantic, self.instances(), panoptic)
