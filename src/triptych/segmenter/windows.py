"""Prompts about a large image: each is answered in one of its windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.segmenter.encoded import EncodedImage
from triptych.segmenter.prompts import spread
from triptych.segmenter.question import Question
from triptych.windows.layout import Windows
from triptych.windows.mask_sets import WindowedMasks


def point_in_windows(
    encode: Callable[[Tensor], EncodedImage], image: Tensor, windows: Windows, question: Question
) -> WindowedMasks:
    """Answer each prompt about a large image in the window in which it lies deepest.

    Args:
        encode: looks at a window.
        image: uint8 ``(H, W, 3)``.
        windows: how it is cut.
        question: what is asked; coordinates are pixels of ``image``.

    Raises:
        TriptychError: a prompt fits into no window, prompts are wrong, or there is a mask prompt.
    """
    if question.mask is not None:
        raise TriptychError("mask= does not go with windows; encode the image, and ask there")
    size = (int(image.shape[0]), int(image.shape[1]))
    prompts = question.prompts(size, "")
    found = []
    for window, members in spread(prompts, windows.over(size)):
        rows, columns = window.area
        moved = [prompts[i].moved(-columns.start, -rows.start) for i in members]
        masks = encode(image[window.area]).answer(question, moved)
        assert masks.prompt is not None
        numbers = torch.tensor(members, dtype=torch.long, device=masks.prompt.device)
        found.append((window, dataclasses.replace(masks, prompt=numbers[masks.prompt])))
    places, parts = zip(*found, strict=True)
    return WindowedMasks(places, parts, size)
