"""What exporters and compilers have to say, in one line: what failed, where, and what to do."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator

import torch
from torch import nn

from triptych.errors import TriptychError

CONTROLS = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")
"""Colours and other commands to a terminal (ECMA-48)."""

SUMMARY = "Summary:"
"""OpenVINO's last words come after this line: the operations that it has not got."""


def unsupported(
    tool: str,
    error: Exception,
    model: nn.Module | None = None,
    program: torch.export.ExportedProgram | None = None,
    *,
    instead: str = "eager",
) -> TriptychError:
    """The mistake to raise where a tool cannot take a network.

    Args:
        tool: its name, for the message.
        error: what it raised; the cause is the one that all others were raised from.
        model: the network, to name the line of its code that the tool could not take.
        program: its graph, for tools that name an operation and no line.
        instead: engines to use in its place.
    """
    chain = list(_causes(error))
    told = _gist(str(chain[-1]))
    place = None if model is None else _place(chain, model, program)
    where = f", at {place}" if place else ""
    return TriptychError(
        f"{tool} cannot take this network ({type(chain[-1]).__name__}: {told}{where}); "
        f"use the engine {instead}"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, down to the cause."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # torch's compiler wraps what went wrong in an attribute.
        cause = cause.__cause__ or getattr(cause, "inner_exception", None)


def _gist(text: str) -> str:
    """The line of a message that says what is wrong."""
    lines = [line.strip(" \t-") for line in CONTROLS.sub("", text).splitlines()]
    lines = [line for line in lines if line]
    if SUMMARY in lines[:-1]:
        return ", ".join(lines[lines.index(SUMMARY) + 1 :])[:200]
    return lines[0][:200] if lines else "no message"


def _place(
    chain: list[BaseException], model: nn.Module, program: torch.export.ExportedProgram | None
) -> str | None:
    """File and line of the network's code that an error is about, if it can be told."""
    modules = {type(part).__module__ for part in model.modules()}
    homes = {
        file: name
        for name in modules
        if name.partition(".")[0] != "torch"
        and (file := getattr(sys.modules.get(name), "__file__", None))
    }
    text = "\n".join(map(str, chain))
    for node in program.graph.nodes if program else ():
        name = re.escape(str(node.target))
        if node.op == "call_function" and re.search(rf"\b{name}\b", text):
            text += node.meta.get("stack_trace") or ""
            break
    told = re.findall(r'File "([^"\n]+)", line (\d+)', text)
    for error in reversed(chain):
        frames = traceback.extract_tb(error.__traceback__)
        told = [(frame.filename, str(frame.lineno)) for frame in frames] + told
    for file, line in reversed(told):
        if file in homes:
            return f"{homes[file].replace('.', '/')}.py:{line}"
    return None
