"""Fetching from a hub on this machine, which misbehaves on demand."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from tests.checkpoints.fake_hub import FakeHub, serve

from triptych.checkpoints import hub as module
from triptych.checkpoints.hub import fetch
from triptych.errors import TriptychError

NAME = "owner/model"
JSON = {"config.json": b"{}", "preprocessor_config.json": b'{"size": 1}'}
PLAIN = JSON | {"model.safetensors": b"tensors"}
NOISE = {"README.md": b"hello", "tf_model.h5": b"other", "model.fp16.safetensors": b"variant"}


def index(*shards: object) -> bytes:
    places = {str(number): shard for number, shard in enumerate(shards)}
    return json.dumps({"weight_map": places | {"again": shards[0]}}).encode()


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[FakeHub]:
    """The hub that this process knows, with an empty cache and no token."""
    with serve() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield served


def no_network(hub: FakeHub, monkeypatch) -> None:
    """Let the hub's address lead nowhere; the cache stays."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def refusal(*arguments, **settings) -> str:
    """The one line with which a fetch is refused."""
    with pytest.raises(TriptychError) as caught:
        fetch(*arguments, **settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestWhatIsFetched:
    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (PLAIN, set(PLAIN)),
            (PLAIN | {"pytorch_model.bin": b"pickle"}, set(PLAIN)),
            (
                {"config.json": b"{}", "model.safetensors": b"x"},
                {"config.json", "model.safetensors"},
            ),
            (JSON | {"pytorch_model.bin": b"x"}, {*JSON, "pytorch_model.bin"}),
            (
                JSON
                | {"model.safetensors.index.json": index("model-1.safetensors", "b.safetensors")}
                | {"model-1.safetensors": b"1", "b.safetensors": b"2", "pytorch_model.bin": b"x"},
                {
                    *JSON,
                    "model.safetensors.index.json",
                    "model-1.safetensors",
                    "b.safetensors",
                },
            ),
            (
                JSON | {"pytorch_model.bin.index.json": index("w-00001.bin"), "w-00001.bin": b"1"},
                {*JSON, "pytorch_model.bin.index.json", "w-00001.bin"},
            ),
        ],
        ids=["safetensors", "both", "no preprocessor", "bin", "shards", "bin shards"],
    )
    def test_a_checkpoint_and_nothing_else(self, files, expected, hub):
        hub.add(NAME, files | NOISE)
        folder = fetch(NAME)
        assert {path.name for path in folder.iterdir()} == expected
        for path in folder.iterdir():
            assert path.read_bytes() == files[path.name]

    def test_a_second_time_the_hub_is_only_asked_for_its_commit(self, hub):
        hub.add(NAME, PLAIN)
        first = fetch(NAME)
        assert hub.asked.count("GET model.safetensors") == 1
        hub.asked.clear()
        assert fetch(NAME) == first
        assert set(hub.asked) == {"HEAD config.json"}

    def test_a_new_commit_is_followed(self, hub):
        hub.add(NAME, PLAIN)
        first = fetch(NAME)
        commit = hub.add(NAME, PLAIN | {"model.safetensors": b"better"})
        second = fetch(NAME)
        assert (first.name == commit, second.name == commit) == (False, True)
        assert (second / "model.safetensors").read_bytes() == b"better"
        assert (first / "model.safetensors").read_bytes() == b"tensors"


class TestRevision:
    def test_branch_tag_and_commit(self, hub):
        old = hub.add(NAME, PLAIN | {"model.safetensors": b"old"})
        hub.repositories[NAME].refs["v1"] = old
        new = hub.add(NAME, PLAIN)
        assert fetch(NAME).name == fetch(NAME, "main").name == new
        assert fetch(NAME, "v1").name == fetch(NAME, old).name == old
        assert fetch(NAME, "v1", offline=True).name == old

    def test_an_unknown_one(self, hub):
        hub.add(NAME, PLAIN)
        text = refusal(NAME, "v2")
        assert text.startswith("owner/model: has no revision 'v2'; give a branch, a tag or")

    def test_a_revision_may_stand_in_the_name(self, hub):
        old = hub.add(NAME, PLAIN | {"model.safetensors": b"old"})
        hub.repositories[NAME].refs["v1"] = old
        new = hub.add(NAME, PLAIN)
        assert fetch(f"{NAME}@v1").name == fetch(f"{NAME}@v1", "v1").name == old
        assert fetch(f"{NAME}@main").name == fetch(NAME).name == new
        assert refusal(f"{NAME}@v2").startswith("owner/model: has no revision 'v2'")
        assert refusal(f"{NAME}@v1", "main") == (
            "owner/model: both @v1 and revision 'main' are given; leave one of them out"
        )
        assert "is missing behind @" in refusal(f"{NAME}@")


class TestAccess:
    def test_a_private_model_needs_its_token(self, hub):
        hub.add(NAME, PLAIN, token="secret")
        assert "shows no such model; if it is private, log in (hf auth login)" in refusal(NAME)
        assert fetch(NAME, token="secret").is_dir()

    def test_the_token_of_the_environment_is_used(self, hub, monkeypatch):
        hub.add(NAME, PLAIN, token="secret")
        monkeypatch.setenv("HF_TOKEN", "secret")
        assert fetch(NAME).is_dir()
        hub.add("owner/other", PLAIN, token="secret")
        assert "no such model" in refusal("owner/other", token=False)

    def test_a_gated_model_says_where_to_ask(self, hub):
        hub.add(NAME, PLAIN, token="secret", gated=True)
        assert f"it is gated: ask for access at {hub.url}/owner/model, then" in refusal(NAME)

    def test_a_bad_token(self, hub):
        hub.add(NAME, PLAIN)
        assert "answers 401 Unauthorized; log in" in refusal(NAME, token="wrong")

    def test_no_token_where_one_is_demanded(self, hub):
        assert "there is no token here; log in" in refusal(NAME, token=True)
        hub.add(NAME, PLAIN)
        assert fetch(NAME) == fetch(NAME, token=True, offline=True)

    def test_an_unknown_model_with_ones_like_it(self, hub):
        text = refusal("facebook/mask2former-swin-tiny-ade-panoptic")
        assert text.startswith(
            "no model 'facebook/mask2former-swin-tiny-ade-panoptic': it is no folder"
        )
        assert "did you mean facebook/mask2former-swin-" in text
        assert "did you mean" not in refusal("somebody/something")


class TestWithoutTheHub:
    def test_what_was_fetched_once_stays(self, hub, monkeypatch):
        hub.add(NAME, PLAIN)
        folder = fetch(NAME)
        hub.asked.clear()
        assert fetch(NAME, offline=True) == folder
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fetch(NAME) == folder
        assert hub.asked == []
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        hub.status = 503
        assert fetch(NAME) == folder
        no_network(hub, monkeypatch)
        assert fetch(NAME) == folder

    def test_that_there_is_no_preprocessor_is_remembered(self, hub):
        hub.add(NAME, {"config.json": b"{}", "pytorch_model.bin": b"x"})
        assert fetch(NAME) == fetch(NAME, offline=True)

    def test_what_was_not_fetched(self, hub, monkeypatch, tmp_path):
        hub.add(NAME, PLAIN)
        start = (
            f"no model 'owner/model': it is no folder, not in the cache ({tmp_path}/cache), and "
        )
        assert (
            refusal(NAME, offline=True) == f"{start}offline mode is on (HF_HUB_OFFLINE=0 ends it)"
        )
        hub.status = 503
        assert "answers 503 Service Unavailable; try again later" in refusal(NAME)
        hub.status = 429
        assert "answers 429 Too Many Requests; try again later" in refusal(NAME)
        no_network(hub, monkeypatch)
        text = refusal(NAME)
        assert text.startswith(f"{start}http://127.0.0.1:9 cannot be reached (")
        assert text.endswith("; load it once with a network")

    @pytest.mark.parametrize("file", sorted(PLAIN))
    def test_a_snapshot_that_another_program_left_unfinished(self, file, hub):
        hub.add(NAME, PLAIN)
        (fetch(NAME) / file).unlink()
        text = refusal(NAME, offline=True)
        assert text.endswith(", and offline mode is on (HF_HUB_OFFLINE=0 ends it)")
        assert file in text or file == "config.json"
        assert (fetch(NAME) / file).read_bytes() == PLAIN[file]

    def test_a_missing_shard(self, hub):
        shards = {"a.safetensors": b"1", "b.safetensors": b"2"}
        hub.add(NAME, JSON | shards | {"model.safetensors.index.json": index(*shards)})
        folder = fetch(NAME)
        assert fetch(NAME, offline=True) == folder
        (folder / "b.safetensors").unlink()
        assert "lacks b.safetensors, and offline" in refusal(NAME, offline=True)


class TestWhatIsNoCheckpoint:
    def test_no_config(self, hub):
        hub.add(NAME, {"README.md": b""})
        assert "owner/model: holds no config.json, so it is no checkpoint" in refusal(NAME)

    def test_no_weights(self, hub):
        hub.add(NAME, JSON | NOISE)
        assert "has no model.safetensors or pytorch_model.bin, so there" in refusal(NAME)

    def test_a_shard_that_is_not_there(self, hub):
        hub.add(NAME, JSON | {"model.safetensors.index.json": index("a.safetensors")})
        assert "owner/model: has no a.safetensors" in refusal(NAME)

    @pytest.mark.parametrize("shard", ["../../../evil", "/etc/passwd", "a/b", "..", "", 3])
    def test_an_index_cannot_lead_elsewhere(self, shard, hub):
        hub.add(NAME, JSON | {"model.safetensors.index.json": index(shard)})
        assert f"names {shard!r}, no file's name" in refusal(NAME)
        assert not [line for line in hub.asked if "evil" in line or "passwd" in line]

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": 3}', b"\xff"])
    def test_a_damaged_index(self, content, hub):
        hub.add(NAME, JSON | {"pytorch_model.bin.index.json": content})
        assert "pytorch_model.bin.index.json is damaged" in refusal(NAME)

    @pytest.mark.parametrize("name", ["", "a/b/c", "a--b/c", "a/..", "../a", "-/x", "a b/c", "ä/b"])
    def test_no_name_of_a_model(self, name, hub):
        text = refusal(name)
        assert "nor a hub name such as OWNER/MODEL" in text
        assert "did you mean" not in text
        assert hub.asked == []

    def test_a_slip_of_the_finger(self, monkeypatch):
        monkeypatch.setattr(module, "bundled", lambda: {"street": Path(), "Zebra": Path()})
        assert refusal("streat").endswith("OWNER/MODEL; did you mean street?")
        assert refusal("zebra").endswith("did you mean Zebra?")
        known = "nvidia/segformer-b0-finetuned-ade-512-512"
        assert f"did you mean {known}" in refusal(known.removeprefix("nvidia/"))


class TestTheDisk:
    def test_full(self, hub, monkeypatch, tmp_path):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        hub.add(NAME, PLAIN)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
        assert f"config.json: no space left in {tmp_path}/cache; free some" in refusal(NAME)

    def test_a_cache_that_cannot_be_written(self, hub, tmp_path):
        hub.add(NAME, PLAIN)
        (tmp_path / "cache").write_text("a file")
        text = refusal(NAME)
        assert f"cannot write {tmp_path}/cache (" in text
        assert text.endswith("let HF_HOME name another folder")

    def test_a_transfer_that_ends_early_leaves_nothing(self, hub):
        hub.add(NAME, PLAIN)
        hub.cut = 1
        assert "config.json: the transfer broke off (" in refusal(NAME)
        hub.cut = 0
        assert (fetch(NAME) / "config.json").read_bytes() == b"{}"


def test_the_environment_is_heeded_and_nothing_imported_early(tmp_path):
    script = (
        "import sys; from triptych.checkpoints.hub import fetch\n"
        "print(sorted({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))\n"
        f"print(fetch({NAME!r}))"
    )
    with serve() as served:
        commit = served.add(NAME, PLAIN)
        settings = {"HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        answer = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env=os.environ | settings,
        )
    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "[]",
        f"{tmp_path}/hub/models--owner--model/snapshots/{commit}",
    ]
