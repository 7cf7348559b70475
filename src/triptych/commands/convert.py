"""``triptych convert``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from triptych.commands.console import one_line


@dataclass(frozen=True)
class Convert:
    """Write a checkpoint in another format, and check that it loads with the same weights."""

    source: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE"),
    ]
    """What to read: a folder; a name on the Hugging Face hub; a bundled checkpoint; or a file of
    a network's authors: NVlabs' SegFormer (.pth), or the model zoos of MaskFormer and Mask2Former
    (.pkl)."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to write. It appears once it is complete."""

    to: Literal["triptych", "transformers"] = "triptych"
    """Ours, or what transformers' from_pretrained reads."""

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the weights; the two short ones halve the file."""

    overwrite: bool = False
    """Replace the checkpoint that the folder holds already. Other files in it stay."""

    def run(self) -> int:
        """Convert and say what came out."""
        import torch

        from triptych.interop.convert import convert

        segmenter = convert(
            self.source, self.out, self.to, getattr(torch, self.dtype), self.overwrite
        )
        count = sum(parameter.numel() for parameter in segmenter.model.parameters())
        print(
            one_line(
                f"{self.out}: {segmenter.family}, {len(segmenter.classes)} classes, "
                f"{count / 1e6:.1f} M parameters, {self.dtype}, format {self.to}"
            )
        )
        return 0
