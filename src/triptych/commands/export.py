"""``triptych export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from triptych.commands.console import one_line
from triptych.commands.sizes import parse_size
from triptych.engines.registry import PrecisionName


@dataclass(frozen=True)
class Export:
    """Write a checkpoint with ready-made graphs for another runtime, and hold it against eager.

    What is written loads like any other checkpoint, and runs on that engine.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A bundled checkpoint, a folder, or OWNER/MODEL[@REVISION] on the hub."""

    to: Literal["onnx", "openvino"]
    """Which engine: pip install '.[onnx]' or '.[openvino]' in triptych's checkout."""

    out: Path
    """Folder to write. It appears once it is complete."""

    size: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """WIDTHxHEIGHT of the pictures that will come; may be repeated. By default 640x360. Others
    work as well, but their graph is made when the first one comes."""

    input: str | None = None
    """WIDTHxHEIGHT of the network's input for all pictures, which are then resized to it whatever
    their shape. By default as the checkpoint prepares them."""

    regroup: str | None = None
    """Other classes, which the folder is to have: the checkpoint's own in groups, whose
    probabilities add up, as in "vehicle: car, bus, truck; way: road, pavement", or a YAML file with
    the same. See docs/regroup.md."""

    precision: PrecisionName = "fp32"
    """Arithmetic when it is loaded. The weights in the folder stay in fp32."""

    overwrite: bool = False
    """Replace the checkpoint that the folder holds already. Other files in it stay."""

    def run(self) -> int:
        """Export and say what came out."""
        pictures = [parse_size("--size", text) for text in self.size]
        entry = None if self.input is None else parse_size("--input", self.input)

        from triptych.class_table import ClassTable
        from triptych.interop.export import export

        for one in export(
            self.model,
            self.out,
            self.to,
            pictures=pictures,
            entry=entry,
            precision=self.precision,
            regroup=None if self.regroup is None else ClassTable.parse(self.regroup),
            overwrite=self.overwrite,
        ):
            width, height = one.input
            what = "features" if one.part == "encode" else "logits"
            print(
                one_line(
                    f"{self.out / one.file}: network input {width}x{height}, {self.precision}; "
                    f"{what} differ from eager's by {one.difference:.1e} of the largest"
                )
            )
        return 0
