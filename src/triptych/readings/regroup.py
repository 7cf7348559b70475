"""Other classes for a mask set: those that it has, in groups whose probabilities add up.

What no group lists joins "no object". In masks of queries that is another set of class logits, and
the readings need not know. Of pixel labellers, whose classes are masks, it is a note on each mask
(:attr:`triptych.readings.masks.Masks.groups`): they add up pixel by pixel, at full resolution
(:mod:`triptych.readings.grouped`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from triptych.class_table import Merged
from triptych.errors import TriptychError
from triptych.readings.masks import Masks

M = TypeVar("M", bound=Masks)


def regrouped(mask_set: M, merged: Merged) -> M:
    """The same masks with the classes that a table makes of theirs.

    Args:
        mask_set: of queries with classes, or of a pixel labeller.
        merged: from :meth:`triptych.class_table.ClassTable.regroup` of its classes.

    Raises:
        TriptychError: the masks have no classes (a promptable network).
    """
    rest = len(merged.classes)
    new = [rest if one is None else one for one in merged.new]
    if mask_set.competition == "softmax":
        groups = mask_set.groups or range(len(mask_set))
        # What was left out before stays so.
        now = tuple((*new, rest)[group] for group in groups)
        return dataclasses.replace(mask_set, classes=merged.classes, groups=now)
    if mask_set.class_logits is None:
        raise TriptychError("a promptable network's masks have no classes that could be regrouped")
    logits = add_up(mask_set.class_logits, [*new, rest], rest + 1)
    return dataclasses.replace(mask_set, classes=merged.classes, class_logits=logits)


def add_up(logits: Tensor, new: Sequence[int], count: int) -> Tensor:
    """Logits ``(..., count)`` under which probabilities are the sums of those in each group.

    Args:
        logits: ``(..., C)``, before softmax.
        new: the group of each of the ``C`` columns, 0 to ``count - 1``.
        count: of groups; those without a column get minus infinity.
    """
    members: list[list[int]] = [[] for _ in range(count)]
    for column, group in enumerate(new):
        members[group].append(column)
    longest = max(map(len, members))
    # One more column, of probability 0, fills up the shorter groups.
    table = [[*some, *[len(new)] * (longest - len(some))] for some in members]
    index = torch.tensor(table, dtype=torch.long, device=logits.device)
    none = torch.full_like(logits[..., :1], -torch.inf)
    return torch.cat((logits, none), -1)[..., index].logsumexp(-1)
