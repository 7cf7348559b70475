"""Checkpoints of the Hugging Face hub, through the cache that its other users share.

Nothing here runs what a repository holds: JSON files and tensors are fetched, nothing else.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import re
from dataclasses import dataclass
from pathlib import Path

from triptych.checkpoints.bundled import bundled
from triptych.checkpoints.catalogue import catalogue
from triptych.checkpoints.foreign import ADAPTER, MERGE
from triptych.errors import TriptychError

_CONFIG = "config.json"
_PREPROCESSORS = ("processor_config.json", "preprocessor_config.json")
# The better kind first. Each may be in shards, which an index file names.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SHARD_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_LOGIN = "log in (hf auth login) or give a token"


def fetch(
    name: str, revision: str | None = None, token: str | bool | None = None, offline: bool = False
) -> Path:
    """Get a checkpoint of the hub, or find it in the cache, and return its folder.

    What the cache has is not fetched again. The hub is asked each time which commit a branch is
    at; where it cannot be reached, the commit that was used last will do. Where the cache lies
    (``HF_HOME``), which hub is meant (``HF_ENDPOINT``) and whether there is a network at all
    (``HF_HUB_OFFLINE``) is set as for ``huggingface_hub``.

    Args:
        name: ``OWNER/MODEL``, or ``OWNER/MODEL@REVISION``.
        revision: a branch, a tag, or a commit; by default the one in the name, or else the main
            branch.
        token: for private models; by default that of ``hf auth login`` or ``HF_TOKEN``.
        offline: look into the cache only.

    Raises:
        TriptychError: the name is no hub name; the hub has no such model or revision, or does not
            show it to us; it holds no checkpoint; it is neither in the cache nor to be had; or the
            cache cannot be written.
    """
    name, at, named = name.partition("@")
    if at and not named:
        raise TriptychError(f"{name}@: the name of a branch, a tag or a commit is missing behind @")
    if named and revision not in (None, named):
        raise TriptychError(
            f"{name}: both @{named} and revision {revision!r} are given; leave one of them out"
        )
    if not _HUB_NAME.fullmatch(name) or "--" in name or ".." in name:
        raise TriptychError(
            f"no model {name!r}: it is neither a file or folder, nor bundled (bundled: "
            f"{', '.join(bundled()) or 'none'}), nor a hub name such as OWNER/MODEL{_perhaps(name)}"
        )
    return _Repository(name, revision or named or None, token, offline).fetch()


def _perhaps(name: str) -> str:
    """A hint at known names that resemble ``name``."""
    known: dict[str, str] = {}
    for full in (*bundled(), *(entry.name for entry in catalogue())):
        known |= {full.lower(): full, full.rpartition("/")[2].lower(): full}
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.7)
    names = dict.fromkeys(known[key] for key in close)
    return f"; did you mean {' or '.join(names)}?" if names else ""


@dataclass
class _Repository:
    name: str
    revision: str | None
    token: str | bool | None
    offline: bool

    def fetch(self) -> Path:
        """Folder of the snapshot, with a config and weights in it."""
        obstacle = self._obstacle()
        self.offline = bool(obstacle)
        config = self._get(_CONFIG, self.revision)
        if config is None:
            raise self._lacks("", obstacle)
        folder = config.parent
        commit = folder.name
        absent = [name for name in _PREPROCESSORS if self._is_absent(name, commit)]
        asked = [name for name in _PREPROCESSORS if name not in absent]
        found = [name for name in asked if self._get(name, commit)]
        if obstacle and not found and _PREPROCESSORS[-1] not in absent:
            raise self._lacks(_PREPROCESSORS[-1], obstacle)
        for weights in _WEIGHTS:
            if self._get(weights, commit):
                return folder
            index = self._get(f"{weights}.index.json", commit)
            if index:
                for shard in self._shards(index):
                    if self._get(shard, commit) is None:
                        raise self._lacks(shard, obstacle)
                return folder
        raise self._lacks(" or ".join(_WEIGHTS), obstacle)

    def _is_absent(self, file: str, commit: str) -> bool:
        """Whether the cache remembers that the repository does not have a file."""
        from huggingface_hub import try_to_load_from_cache

        known = try_to_load_from_cache(self.name, file, revision=commit)
        return known is not None and not isinstance(known, str)

    def _obstacle(self) -> str:
        """Why only the cache can help, or nothing.

        One request that is not repeated: ``hf_hub_download`` would wait half a minute for a
        network that is not there.
        """
        from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

        hub, url = constants.ENDPOINT, f"{constants.ENDPOINT}/{self.name}"
        if self.offline or constants.HF_HUB_OFFLINE:
            return "offline mode is on (HF_HUB_OFFLINE=0 ends it)"
        try:
            get_hf_file_metadata(
                hf_hub_url(self.name, _CONFIG, revision=self.revision), token=self.token
            )
        except errors.RevisionNotFoundError as error:
            raise TriptychError(
                f"{self.name}: has no revision {self.revision!r}; give a branch, a tag or a commit "
                f"({url}/commits)"
            ) from error
        except errors.EntryNotFoundError as error:
            what = f"holds no {_CONFIG}, so it is no checkpoint that can be loaded; see {url}"
            with contextlib.suppress(Exception):
                get_hf_file_metadata(
                    hf_hub_url(self.name, ADAPTER, revision=self.revision), token=self.token
                )
                what = f"is a PEFT adapter, not a whole network; {MERGE}"
            raise TriptychError(f"{self.name}: {what}") from error
        except errors.GatedRepoError:
            return f"it is gated: ask for access at {url}, then {_LOGIN}"
        except errors.RepositoryNotFoundError:
            return f"{hub} shows no such model{_perhaps(self.name)}; if it is private, {_LOGIN}"
        except errors.LocalTokenNotFoundError as error:
            raise TriptychError(f"{self.name}: there is no token here; {_LOGIN}") from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            what = "try again later" if status == 429 or status >= 500 else _LOGIN
            return f"{hub} answers {status} {error.response.reason_phrase}; {what}"
        except Exception as error:  # the network has no common class of errors
            return f"{hub} cannot be reached ({_gist(error)}); load it once with a network"
        return ""

    def _get(self, file: str, revision: str | None) -> Path | None:
        """A file of the repository in the cache, or None where there is no such file."""
        from huggingface_hub import constants, errors, hf_hub_download

        try:
            return Path(
                hf_hub_download(
                    self.name,
                    file,
                    revision=revision,
                    token=False if self.offline else self.token,
                    local_files_only=self.offline,
                )
            )
        except errors.EntryNotFoundError as error:
            if self.offline or isinstance(error, errors.RemoteEntryNotFoundError):
                return None
            trouble: Exception = error
        except Exception as error:  # neither has the transfer, of which there are two kinds
            trouble = error
        cache = constants.HF_HUB_CACHE
        number = getattr(trouble, "errno", None)
        if number == errno.ENOSPC:
            text = f"no space left in {cache}; free some, or let HF_HOME name another folder"
        elif number and not isinstance(trouble, ConnectionError | TimeoutError):
            text = f"cannot write {cache} ({_gist(trouble)}); let HF_HOME name another folder"
        else:
            text = f"the transfer broke off ({_gist(trouble)}); try again, it goes on from there"
        raise TriptychError(f"{self.name}: {file}: {text}") from trouble

    def _lacks(self, file: str, obstacle: str) -> TriptychError:
        from huggingface_hub import constants

        cache = constants.HF_HUB_CACHE
        if not obstacle:
            return TriptychError(f"{self.name}: has no {file}, so there is nothing to load")
        if not file:
            where = f"it is no folder, not in the cache ({cache})"
            return TriptychError(f"no model {self.name!r}: {where}, and {obstacle}")
        return TriptychError(f"{self.name}: the cache ({cache}) lacks {file}, and {obstacle}")

    def _shards(self, index: Path) -> list[str]:
        """Names of the files that an index distributes the weights over."""
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TriptychError(f"{self.name}: {index.name} is damaged ({error!r})") from error
        for name in names:
            # From a stranger: it must not lead out of the snapshot.
            if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
                raise TriptychError(f"{self.name}: {index.name} names {name!r}, no file's name")
        return names


def _gist(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
