"""Names that a wrapper of a network puts before, or into, those of its tensors.

``torch.compile`` saves ``_orig_mod.``, DataParallel and DistributedDataParallel ``module.``, FSDP
``_fsdp_wrapped_module.``; trainers (Lightning, one's own class) save the network under the name of
their attribute, ``model.`` or ``net.``; and one may wrap another. What is a wrapper's, the names
that a network is known to have decide: ``model.`` alone is also a part of Mask2Former's own.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from triptych.checkpoints.lazy import TensorEntry, Tensors

log = logging.getLogger(__name__)

_INSIDE = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""No module is called like this but by these wrappers, which also wrap parts of a network."""

_DEEPEST = 8
_MAXIMUM = 0.9
"""Share of the names that have a wrapper's prefix: a trainer may save a loss beside the network."""

Names = Collection[str]


def unwrapped(path: Path, tensors: Tensors, fits: Callable[[Names], bool]) -> Tensors:
    """The tensors without the prefixes of wrappers, which a warning in the log names.

    As they are where no prefix can be taken away so that they fit; then their own names are the
    ones to complain about.

    Args:
        path: the file, for the log.
        fits: whether names are those of the network that is looked for, or most of them are.
    """
    names = {name: name for name in tensors}  # without prefixes, as in the file
    removed = []
    for _ in range(_DEEPEST):
        if fits(names):
            break
        prefix, names = _peeled(names)
        if not prefix:
            return tensors
        removed.append(prefix)
    else:
        return tensors
    if not removed:
        return tensors
    log.warning(
        "%s: names of its tensors have the prefix %s of a wrapper, which is taken away",
        path,
        " and ".join(dict.fromkeys(removed)),
    )
    return Tensors(
        {
            name: TensorEntry(tensors.shape(theirs), partial(tensors.__getitem__, theirs))
            for name, theirs in names.items()
        }
    )


def _peeled(names: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A prefix, and the names without it; nothing if there is none, or names would meet."""
    if hits := [hit[0] for name in names if (hit := _INSIDE.search(name))]:
        prefix, fewer = hits[0], {_INSIDE.sub("", name): names[name] for name in names}
    else:
        first = Counter(name.partition(".")[0] for name in names if "." in name)
        if not first:
            return "", names
        common, count = first.most_common(1)[0]
        prefix = f"{common}."
        if count < _MAXIMUM * len(names):
            return "", names
        fewer = {name.removeprefix(prefix): names[name] for name in names}
    return (prefix, fewer) if len(fewer) == len(names) else ("", names)
