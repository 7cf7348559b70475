"""What others' files and folders are that hold no weights we can read, and the way from there.

Files are known by their first bytes, folders by the names in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

HEAD = 512
"""First bytes of a file that :func:`foreign_file` looks at."""

_SAME_MODEL = "give the safetensors or PyTorch weights of the same model"
_ARCHIVE = "is a packed archive, not weights; unpack it first"
_PICTURE = "is a picture, not weights"
_VIDEO = "is a video, not weights"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the weights; run `git lfs pull` in its folder",
    ),
    (b"GGUF", f"is a GGUF file, weights for llama.cpp; {_SAME_MODEL}"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras and TensorFlow write; {_SAME_MODEL}"),
    (b"\x93NUMPY", "is a single array of numpy, not a network's weights"),
    (b"\x1f\x8b", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"Rar!", _ARCHIVE),
    (b"(\xb5/\xfd", _ARCHIVE),
    (b"\x89PNG", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"%PDF", "is a PDF, not weights"),
    (b"\x1aE\xdf\xa3", _VIDEO),
)
_WITHIN: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", f"is a graph of TensorFlow Lite; {_SAME_MODEL}"),
    (4, b"ftyp", _VIDEO),
    (257, b"ustar", _ARCHIVE),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml")
_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a]")
"""The beginning of a protobuf message with a version and then a text or a part, as a graph has."""

_GRAPHS = {
    ".onnx": "an ONNX graph",
    ".xml": "an OpenVINO graph",
    ".engine": "an engine of TensorRT",
    ".plan": "an engine of TensorRT",
    ".mlmodel": "a model of Core ML",
    ".tflite": "a graph of TensorFlow Lite",
    ".pb": "a graph of TensorFlow",
    ".pte": "a program of ExecuTorch",
}
_GRAPH = (
    "is {}, of which the weights cannot be taken over; give the checkpoint that it was exported "
    "from (triptych export makes graphs of it)"
)
_ZIPS = (
    ("constants.pkl", "is a TorchScript program, not weights; save its state_dict with torch.save"),
    ("archive_format", "is a program of torch.export, not weights; save the network's state_dict"),
    ("model.weights.h5", f"is a model of Keras; {_SAME_MODEL}"),
    (".npy", "is an archive of numpy arrays (.npz); save them with torch.save or safetensors"),
)


def foreign_file(path: Path, head: bytes) -> str:
    """What a file is that holds no weights we read, as the end of a sentence.

    Args:
        path: the file, of which the suffix counts where the beginning tells nothing.
        head: its first :data:`HEAD` bytes.
    """
    if not head:
        return "is empty; get it again"
    for beginning, told in _BEGINNINGS:
        if head.startswith(beginning):
            return told
    for place, mark, told in _WITHIN:
        if head[place : place + len(mark)] == mark:
            return told
    start = head.lstrip().lower()
    if b"<net " in start:
        return _GRAPH.format(_GRAPHS[".xml"])
    if start.startswith(_PAGES):
        return "is a web page, not weights; open its address in a browser to see what it says"
    suffix = path.suffix.lower()
    if suffix in _GRAPHS or _ONNX.match(head):
        return _GRAPH.format(_GRAPHS.get(suffix, _GRAPHS[".onnx"]))
    if suffix == ".msgpack":
        return f"holds weights for Flax; {_SAME_MODEL}"
    if _is_text(head):
        return "is no file of weights but a text file; give the folder, or the file with weights"
    return "is no file of weights: neither safetensors, nor of torch.save, nor pickled arrays"


def foreign_zip(members: Sequence[str]) -> str:
    """What a zip archive of these files is; nothing if ``torch.save`` wrote it."""
    for end, told in _ZIPS:
        if any(member.endswith(end) for member in members):
            return told
    if not any(member.rpartition("/")[2] == "data.pkl" for member in members):
        return "is a zip archive, but none of torch.save; unpack it first"
    return ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)


_ADAPTER = re.compile(r"(?:^|[._])lora[_.]|\.hada_w|\.lokr_w")
_LORA = (
    "holds a LoRA adapter, which changes a network and is none; merge it into its base first "
    "(PEFT: merge_and_unload; diffusers: fuse_lora) and save that"
)
_QUANTISED = re.compile(
    r"\.(?:weight_scale(?:_inv)?|absmax|quant_map|SCB|qweight|qzeros|scales|quant_state.*|"
    r"_packed_params.*|zero_point)$"
)
_OTHERS = (
    ("decode_head.conv_seg.", "names as in MMSegmentation"),
    ("segmentation_head.", "names as in segmentation_models_pytorch"),
    ("classifier.4.", "names as in torchvision"),
    ("roi_heads.", "names as in detectron2's Mask R-CNN"),
    ("model.diffusion_model.", "names as in Stable Diffusion"),
)


def foreign_names(names: Iterable[str]) -> str:
    """What tensors of these names are, as the end of a sentence; nothing if nobody knows."""
    names = list(names)
    if any(_ADAPTER.search(name) for name in names):
        return _LORA
    if any(_QUANTISED.search(name) for name in names):
        return "holds a quantised network; give the checkpoint that it was made from"
    for part, told in _OTHERS:
        if any(part in f"{name}." for name in names):
            return f"has {told}, which are not read; give the network in transformers' format"
    return ""


WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".pkl", ".ckpt")
_FOREIGN_SUFFIXES = (*_GRAPHS, ".gguf", ".h5", ".keras", ".msgpack", ".npz", ".zip")
_TRAINERS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")
_STEP = re.compile(r"(\d+)$")


ADAPTER = "adapter_config.json"
MERGE = (
    "merge it first: PeftModel.from_pretrained(base, FOLDER).merge_and_unload()"
    ".save_pretrained(OTHER)"
)


def adapter(folder: Path) -> str:
    """That a folder holds an adapter of PEFT, and of what; nothing if it does not."""
    try:
        entries = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    base = entries.get("base_model_name_or_path") if isinstance(entries, dict) else None
    kind = entries.get("peft_type") if isinstance(entries, dict) else None
    return (
        f"is a PEFT adapter{f' ({kind})' if kind else ''} for {base or 'some base model'}, not a "
        f"whole network; {MERGE}"
    )


def foreign_folder(folder: Path) -> str:
    """Where in a folder without a usable checkpoint one may be, or what lies there instead.

    As the end of a sentence that says what is missing; nothing if nothing helps.
    """
    if told := adapter(folder):
        return f"it {told}"
    if (folder / "model_index.json").exists():
        return "it is a pipeline of diffusers, which makes pictures"
    if found := _inner_checkpoints(folder):
        more = f", the newest of {len(found)}" if len(found) > 1 else ""
        return f"the checkpoint is {found[-1]}{more}: give that"
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return ""
    weights = _weights(folder)
    if any("lora" in path.stem.lower() for path in weights):
        return f"it {_LORA}"
    if weights and not (folder / "config.json").exists():
        return f"give {weights[0].name} itself"
    others = [path for path in files if path.suffix.lower() in _FOREIGN_SUFFIXES]
    if others and not weights:
        with others[0].open("rb") as file:
            return f"{others[0].name} {foreign_file(others[0], file.read(HEAD))}"
    if (folder / "saved_model.pb").exists() or (folder / "checkpoint").is_file():
        return f"it holds a network of TensorFlow; {_SAME_MODEL}"
    return ""


def _weights(folder: Path) -> list[Path]:
    """Files that may hold a network's weights, not the state of what trained it."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in WEIGHT_SUFFIXES and not path.stem.startswith(_TRAINERS)
    ]


def _inner_checkpoints(folder: Path) -> list[Path]:
    """Folders below that hold a checkpoint with weights, the newest last."""
    configs = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    found = [path.parent for path in configs]
    found = [path for path in found if _weights(path)]

    def age(path: Path) -> tuple[int, float, str]:
        step = _STEP.search(path.name)
        return int(step[1]) if step else -1, path.stat().st_mtime, path.name

    return sorted(found, key=age)
