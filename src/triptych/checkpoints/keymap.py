"""Names and layout of published weights against ours: rules that are read in both directions.

A published file calls its tensors by the names of the code that wrote it. Each module of ours
carries, beside its class, the rules that relate those names to its own; a larger module composes
its parts' rules with :func:`under`. The published side is the name *in the file*: a library may
rename keys once more while it loads, and that is no concern of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from triptych.errors import TriptychError

_FIELD = re.compile(r"\{(\w+)\}")
_SHOWN = 8
"""Names listed in an error before it says "and n more"."""


@dataclass(frozen=True)
class Rule:
    """Published tensors and ours that hold the same rows, in the same order along dimension 0.

    Names are templates: ``{field}`` stands for one part between dots, or the rest of a part, and
    has the same value in every name of the rule.
    """

    theirs: tuple[str, ...]
    """Names in the published file."""

    ours: tuple[str, ...]
    """Names in our module's ``state_dict``; the published rows are dealt out in equal shares."""

    def __post_init__(self) -> None:
        fields = {frozenset(_FIELD.findall(name)) for name in self.theirs + self.ours}
        if len(fields) > 1:
            raise ValueError(f"the names of one rule use different fields: {self}")


class Rename(Rule):
    """One tensor under another name."""

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__((theirs,), (ours,))


class Stack(Rule):
    """Several tensors on one side that are one tensor on the other: query, key and value, say."""

    def __init__(self, theirs: str | tuple[str, ...], ours: str | tuple[str, ...]) -> None:
        super().__init__(
            (theirs,) if isinstance(theirs, str) else theirs,
            (ours,) if isinstance(ours, str) else ours,
        )


class Drop(Rule):
    """A published tensor that we compute or do not need: an index table, a loss weight."""

    def __init__(self, theirs: str) -> None:
        super().__init__((theirs,), ())


Rules = Sequence[Rule]

_DEEPEST = 10
"""Parts between dots that names have below a prefix which is dropped."""


def drop_below(prefix: str) -> tuple[Rule, ...]:
    """Drop all published tensors whose names begin with ``prefix``, a part that we do not have.

    >>> [rule.theirs for rule in drop_below("criterion.")][:2]
    [('criterion.{p1}',), ('criterion.{p1}.{p2}',)]
    """
    parts = [f"{{p{number}}}" for number in range(1, _DEEPEST + 1)]
    return tuple(Drop(prefix + ".".join(parts[:length])) for length in range(1, _DEEPEST + 1))


def under(rules: Rules, theirs: str, ours: str) -> tuple[Rule, ...]:
    """Put a part's rules under the names that the part has within the whole.

    >>> under([Rename("dense.{p}", "out.{p}")], "encoder.", "trunk.")[0].ours
    ('trunk.out.{p}',)
    """
    return tuple(
        Rule(tuple(theirs + name for name in rule.theirs), tuple(ours + name for name in rule.ours))
        for rule in rules
    )


def to_ours(published: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Give published tensors our names and layout; those under ``Drop`` disappear.

    Raises:
        TriptychError: a name that no rule knows, or a missing part of a stack.
    """
    plan = _plan(published, rules)
    return dict(_convert(published, plan))


def to_theirs(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Give our tensors the published names and layout: the inverse of :func:`to_ours`.

    Raises:
        TriptychError: a name that no rule knows, or a missing part of a stack.
    """
    plan = _plan(state, _flipped(rules))
    return dict(_convert(state, plan))


def adopt_published(
    module: nn.Module,
    published: Mapping[str, Tensor],
    rules: Rules,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Make published tensors the parameters and buffers of ``module``, in the place of its own.

    All of them are used and nothing is left over; names and shapes are checked first. What already
    is one tensor of the right type is not copied: where it lies in a file that is mapped into
    memory, it stays there. ``module`` may have been built without memory for its parameters
    (:mod:`triptych.checkpoints.skeleton`).

    Args:
        dtype: of everything with a floating point.

    Raises:
        TriptychError: unknown or missing keys (published names), shapes that differ, or weights
            that are whole numbers.
    """
    plan = fit(module, published, rules)
    sources = {name: theirs[0] for theirs, targets in plan.items() for name in targets}
    own = module.state_dict()
    state = {
        name: of_type(tensor, own[name], dtype, sources[name])
        for name, tensor in _convert(published, plan)
    }
    module.load_state_dict(state, assign=True)


def fit(
    module: nn.Module, published: Mapping[str, Tensor], rules: Rules
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What to do so that ``published`` fills ``module``: sources, stacked, to targets.

    The targets share the rows of the stack in equal parts; what is dropped has none.

    Raises:
        TriptychError: unknown or missing keys (published names), or shapes that differ.
    """
    state = module.state_dict()
    plan = _plan(published, rules)
    makes = {name: sources for sources, targets in plan.items() for name in targets}
    surplus = [name for ours, sources in makes.items() if ours not in state for name in sources]
    missing = [name for name in state if name not in makes]
    if missing:
        # The user's file speaks their names; a tensor of ours that no rule makes has only its own.
        back = _plan(missing, _flipped(rules), partial=True)
        missing = [name for wanted in back.values() for name in wanted] or missing
    kind = type(module).__name__
    _complain(f"this checkpoint does not fit the {kind}", {"unknown": surplus, "missing": missing})

    shapes = []
    for sources, targets in plan.items():
        shape = list(published[sources[0]].shape)
        if shape and targets:
            shape[0] = sum(published[name].shape[0] for name in sources) // len(targets)
        for name in targets:
            wanted = list(state[name].shape)
            if wanted != shape:
                shapes.append(f"{', '.join(sources)} gives {shape}, not {wanted}")
    if shapes:
        raise TriptychError(f"this checkpoint does not fit the {kind}: {_some(shapes)}")
    return plan


def of_type(given: Tensor, own: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """A tensor out of a file in the type that a network needs it in.

    Args:
        given: from the file.
        own: the network's, in the place of which it comes.
        dtype: of what has a floating point.
        name: in the file, for the message.

    Raises:
        TriptychError: weights are whole numbers, as a quantised network's are.
    """
    if not own.is_floating_point():  # a counter, an index: some tools save it as a float
        return given.to(own.dtype)
    if not given.is_floating_point():
        kind = str(given.dtype).removeprefix("torch.")
        raise TriptychError(
            f"{name} holds {kind} and not floating-point numbers, as in a quantised checkpoint, "
            "which is not read; give the one that it was made from"
        )
    return given.to(dtype)


def share_known(names: Iterable[str], rules: Rules) -> float:
    """The share of published names that a rule knows, 0 to 1."""
    patterns = [re.compile(_pattern(name)) for rule in rules for name in rule.theirs]
    names = list(names)
    known = sum(any(pattern.fullmatch(name) for pattern in patterns) for name in names)
    return known / max(len(names), 1)


def _plan(
    names: Iterable[str], rules: Rules, *, partial: bool = False
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Which tensors, stacked, make which: sources to targets, in the order of ``names``.

    ``partial`` lets unknown names and incomplete stacks pass: for saying what is missing.
    """
    names = dict.fromkeys(names)
    patterns = [(rule, re.compile(_pattern(name))) for rule in rules for name in rule.theirs]
    plan: dict[tuple[str, ...], tuple[str, ...]] = {}
    unknown, missing = [], []
    for name in names:
        found = next(((r, hit) for r, p in patterns if (hit := p.fullmatch(name))), None)
        if found is None:
            unknown.append(name)
            continue
        rule, fields = found[0], found[1].groupdict()
        sources = tuple(template.format(**fields) for template in rule.theirs)
        if sources not in plan:
            plan[sources] = tuple(template.format(**fields) for template in rule.ours)
            missing += [source for source in sources if source not in names]
    if not partial:
        _complain("this checkpoint does not fit", {"unknown": unknown, "missing": missing})
    return plan


def _convert(
    tensors: Mapping[str, Tensor], plan: Mapping[tuple[str, ...], tuple[str, ...]]
) -> Iterator[tuple[str, Tensor]]:
    for sources, targets in plan.items():
        if not targets:
            continue
        parts = [tensors[name] for name in sources]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        shares = [whole] if len(targets) == 1 else whole.chunk(len(targets))
        yield from zip(targets, shares, strict=True)


def _flipped(rules: Rules) -> list[Rule]:
    return [Rule(rule.ours, rule.theirs) for rule in rules]


def _pattern(template: str) -> str:
    """Turn a template into a regular expression with a group for each field."""
    literals_and_fields = _FIELD.split(template)
    seen: set[str] = set()
    pattern = ""
    for index, piece in enumerate(literals_and_fields):
        if index % 2 == 0:
            pattern += re.escape(piece)
        elif piece in seen:
            pattern += f"(?P={piece})"
        else:
            seen.add(piece)
            pattern += rf"(?P<{piece}>[^.]+)"
    return pattern


def _complain(what: str, troubles: Mapping[str, Sequence[str]]) -> None:
    """Raise if there is any trouble, naming the keys."""
    told = [
        f"{len(names)} {kind} key{'s' * (len(names) > 1)}: {_some(names)}"
        for kind, names in troubles.items()
        if names
    ]
    if told:
        raise TriptychError(f"{what}: {'; '.join(told)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
