"""The task token of OneFormer: a sentence that says which reading the masks are for."""

from __future__ import annotations

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.networks.contract import TaskName

TASKS: tuple[TaskName, ...] = get_args(TaskName)

LENGTH = 77
"""Tokens of a sentence, as CLIP's tokenizer pads it."""

_START, _THE_TASK_IS, _END = 49406, (518, 10549, 533), 49407
_WORDS: dict[TaskName, tuple[int, ...]] = {
    "semantic": (29119, 1550),
    "instance": (34572,),
    "panoptic": (1072, 24755),
}


def sentence(task: TaskName) -> Tensor:
    """Ids ``(77,)`` int64 of "the task is {task}" in CLIP's vocabulary, filled up with zeros.

    There are three sentences ever, so they stand here and no tokenizer is needed.
    """
    ids = (_START, *_THE_TASK_IS, *_WORDS[task], _END)
    return torch.tensor(ids + (0,) * (LENGTH - len(ids)), dtype=torch.long, device="cpu")


class TaskToken(nn.Module):
    """Two linear maps from a task's sentence to a token (OneFormer, Jain et al., CVPR 2023, 3.1).

    The ids of the sentence are taken for numbers, up to 49407. Types of 16 bit have no such whole
    numbers (bfloat16 makes 10560 of 10549) and sums of them no room (float16 ends at 65504), so
    all of it is float32, whatever the types of the weights and of autocast.

    Args:
        dim: width ``C`` of the token.

    >>> TaskToken(256)("panoptic").shape
    torch.Size([256])
    """

    sentences: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        # Whole numbers, so that no change of the network's type rounds them.
        self.register_buffer("sentences", torch.stack([*map(sentence, TASKS)]), persistent=False)
        self.linear1 = nn.Linear(LENGTH, dim)
        self.linear2 = nn.Linear(dim, dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, task: TaskName) -> Tensor:
        """The token ``(C,)`` of a task, in float32."""
        ids = self.sentences[TASKS.index(task)].float()
        return _in_float32(self.linear2, F.relu(_in_float32(self.linear1, ids)))


def _in_float32(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear map of one vector; autocast leaves a product and a sum as they are."""
    return (linear.weight.float() * x).sum(-1) + linear.bias.float()
