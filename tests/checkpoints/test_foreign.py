"""Files and folders of others that hold no weights we can read: each is named, with the way out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoints.files import refused
from tests.tiny_model import tiny_segformer

from triptych.errors import TriptychError
from triptych.segmenter import load


def refusal(path: Path) -> str:
    with pytest.raises(TriptychError) as caught:
        load(path, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.gguf", b"GGUF\x03\0\0\0", "is a GGUF file, weights for llama.cpp; give the safet"),
        ("model.h5", b"\x89HDF\r\n\x1a\n\0", "is an HDF5 file, as Keras"),
        ("model.onnx", b"\x08\x08\x12\x07pytorch\x1a", "is an ONNX graph, of which the weights"),
        ("model", b"\x08\x0a\x12\x07pytorch\x1a\0\xff", "is an ONNX graph"),
        ("model.xml", b'<?xml version="1.0"?>\n<net name="x">', "is an OpenVINO graph"),
        ("model.tflite", b"\x1c\0\0\0TFL3\0", "is a graph of TensorFlow Lite"),
        ("model.engine", b"ftrt\0\xff", "is an engine of TensorRT"),
        ("flax_model.msgpack", b"\x81\xa6params\xff", "holds weights for Flax"),
        ("model.tar.gz", b"\x1f\x8b\x08\0", "is a gzip archive, not weights; unpack it first"),
        ("model.tar", b"x" * 257 + b"ustar", "is a tar archive"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "is a JPEG picture, not weights"),
        ("clip.mp4", b"\0\0\0\x20ftypisom", "is a video (MP4), not weights"),
        ("a.npy", b"\x93NUMPY\x01", "is a single array of numpy"),
        ("recipe.yaml", b"model:\n  family: x\n", "is a text file, not weights; give the folder"),
        ("notes.txt", "Größe\n".encode() * 100, "is a text file, not"),
        ("blob", b"\xfe\xff\0\x01", "is no file of weights: neither safetensors"),
    ],
)
def test_files(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refused(tmp_path / name)
    assert words in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["net/data.pkl", "net/constants.pkl"], "is a TorchScript program"),
        (["net/archive_format", "net/data/weights/w_0"], "is a program of torch.export"),
        (["config.json", "metadata.json", "model.weights.h5"], "is a model of Keras"),
        (["a.npy", "b.npy"], "is an archive of numpy arrays"),
        (["model/config.json", "model/model.safetensors"], "unpack it first"),
    ],
)
def test_archives(members: list[str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"")
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unet.lora_A.weight", "holds a LoRA adapter"),
        ("lora_unet_down.lora_up.weight", "holds a LoRA adapter"),
        ("transformer.attn.to_q.lora.down.weight", "holds a LoRA adapter"),
        ("layers.0.qweight", "holds a quantised network"),
        ("layers.0.weight.absmax", "holds a quantised network"),
        ("decode_head.conv_seg.weight", "names as in MMSegmentation, which are not read"),
        ("segmentation_head.0.weight", "names as in segmentation_models_pytorch"),
    ],
)
def test_tensors_by_their_names(name: str, words: str, tmp_path: Path) -> None:
    tensors = {name: torch.ones(2), "other.weight": torch.ones(2)}
    save_file(tensors, tmp_path / "alone.safetensors")
    assert words in refusal(tmp_path / "alone.safetensors")
    tiny_segformer().save(tmp_path / "folder", format="transformers")
    save_file(tensors, tmp_path / "folder" / "model.safetensors")
    assert words in refusal(tmp_path / "folder")


def checkpoint(folder: Path, weights: bool = True) -> Path:
    tiny_segformer().save(folder, format="transformers")
    torch.save({"state": {}}, folder / "optimizer.pt")
    if not weights:
        (folder / "model.safetensors").unlink()
    return folder


def test_a_folder_of_checkpoints_names_the_newest(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoint-9")
    last = checkpoint(tmp_path / "checkpoint-10")
    checkpoint(tmp_path / "checkpoint-20", weights=False)
    told = refusal(tmp_path)
    assert f"holds no config.json; the checkpoint is {last}, the newest of 2: give that" in told
    # The same where a run that was broken off left its description.
    (tmp_path / "config.json").write_bytes((last / "config.json").read_bytes())
    assert f"holds no weights; the checkpoint is {last}" in refusal(tmp_path)


def test_the_folder_of_a_run_and_that_of_a_cache(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "run" / "model")
    assert f"the checkpoint is {model}: give that" in refusal(tmp_path / "run")
    commit = checkpoint(tmp_path / "models--a--b" / "snapshots" / "0ab")
    assert f"the checkpoint is {commit}: give that" in refusal(tmp_path / "models--a--b")


def test_a_single_file_of_weights_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "mine.safetensors")
    assert "give mine.safetensors itself" in refusal(tmp_path)


def test_adapters(tmp_path: Path) -> None:
    entries = {"peft_type": "LORA", "base_model_name_or_path": "nvidia/mit-b0"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(entries))
    save_file({"base_model.model.x.lora_A.weight": torch.ones(1)}, tmp_path / "adapter.safetensors")
    words = "is a PEFT adapter (LORA) for nvidia/mit-b0, not a whole network; merge it first"
    assert words in refusal(tmp_path)
    with pytest.raises(TriptychError, match="is a PEFT adapter"):
        load(tmp_path / "adapter.safetensors")
    (tmp_path / "adapter_config.json").write_text("[")
    assert "holds a LoRA adapter" in str(refusal(tmp_path / "adapter.safetensors"))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model_index.json", b"{}", "it is a pipeline of diffusers"),
        ("pytorch_lora_weights.safetensors", b"x", "it holds a LoRA adapter"),
        ("model.onnx", b"\x08\x08\x12\x07pytorch\x1a", "model.onnx is an ONNX graph"),
        ("tf_model.h5", b"\x89HDF\r\n\x1a\n", "tf_model.h5 is an HDF5 file"),
        ("saved_model.pb", b"\x08\x01", "saved_model.pb is a graph of TensorFlow"),
    ],
)
def test_folders(file: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    assert f"holds no config.json; {words}" in refusal(tmp_path)
    checkpoint(tmp_path, weights=False)
    assert f"holds no weights; {words}" in refusal(tmp_path)
