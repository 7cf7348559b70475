"""One line on arguments that mean nothing, out of the framed, many-lined message of tyro.

tyro has a hook that gives the same as data (``tyro._errors``), but calls it private and may change
it in any release. The message is what users see, so it is steadier; ``pyproject.toml`` bounds the
version, and ``tests/commands/test_cli.py`` holds each kind of mistake.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = (("int()", "a whole number"), ("to float", "a number"))


def summary(box: str, arguments: Sequence[str], commands: Mapping[str, type[Any]]) -> str:
    """The gist of a message.

    Args:
        box: what tyro prints.
        arguments: those that it refuses.
        commands: by name, the dataclasses whose fields are the options.
    """
    # Lines and corners; dashes where the terminal has no others.
    inside = [re.sub("[│╭╮╰╯─]|-{4,}|\\|", "", line).rstrip() for line in box.splitlines()[1:]]
    # Eight spaces in front of it: the help text of the argument that is meant.
    text = "\n".join(line.strip() for line in inside if not line.startswith(" " * 9)).strip()
    gist = " ".join(text.split("\n\n")[0].split()).rstrip(".")
    where = re.search(r"triptych[\w ]* --help", text)
    see = where[0] if where else "triptych --help"
    command = arguments[0] if arguments and arguments[0] in commands else ""
    if gist.startswith("Unrecognized"):
        hint = re.search(r"Perhaps you meant:\n(--\S+)", text)
        gist = _unrecognised(gist, hint[1] if hint else "", command, arguments, commands)
        see = f"triptych {command} --help" if command else see
    elif wrong := re.match(r"Error parsing (--[\w-]+): ", gist):
        gist, see = _wrong_value(wrong[1], text, gist), f"triptych {command} --help"
    return f"{gist}; see {see}"


def _unrecognised(
    gist: str,
    hint: str,
    command: str,
    arguments: Sequence[str],
    commands: Mapping[str, type[Any]],
) -> str:
    given = gist.partition(": ")[2]
    # Where an option exists elsewhere, each is followed by the command that it was given to.
    unknown = re.split(r" \(applied to [\w ]+\) ?|, ", given)
    unknown = [name for name in unknown if name]
    told = f"Unrecognized options: {', '.join(unknown)}"
    if not command and arguments and not arguments[0].startswith("-"):
        close = difflib.get_close_matches(arguments[0], commands, n=1)
        perhaps = f"did you mean {close[0]}" if close else f"there are {', '.join(commands)}"
        return f"{told}; no command is called {arguments[0]!r}, {perhaps}"
    elsewhere = {name: _owners(name, commands) for name in unknown if name.startswith("--")}
    here = _options(commands[command]) if command else set()
    for name, owners in elsewhere.items():
        if owners and name not in here:
            others = " and ".join(f"triptych {owner}" for owner in owners)
            return f"{told}; {name} is an option of {others}, not of triptych {command}"
    if hint and command and hint not in here:  # one of another command; look nearer
        close = difflib.get_close_matches(hint, here, n=1, cutoff=0.8)
        hint = close[0] if close else ""
    return f"{told} (perhaps you meant {hint})" if hint and hint not in unknown else told


def _owners(option: str, commands: Mapping[str, type[Any]]) -> list[str]:
    return [name for name, command in commands.items() if option in _options(command)]


def _options(command: type[Any]) -> set[str]:
    if not dataclasses.is_dataclass(command):
        return set()
    return {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(command)}


def _wrong_value(option: str, text: str, gist: str) -> str:
    value = re.search(r"from \['(.*?)'\]|base 10: '(.*?)'|float: '(.*?)'", text)
    kind = next((kind for mark, kind in _KINDS if mark in text), "")
    if not value or not kind:
        return gist
    given = next(group for group in value.groups() if group is not None)
    return f"{option} is {given!r}; give {kind}"
