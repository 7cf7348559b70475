"""What others' files and folders are that hold no weights we can read, and the way from there.

Files are known by their first bytes, folders by the names in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from triptych.image.signatures import HEAD, signature

_SAME_MODEL = "give the safetensors or PyTorch weights of the same model"
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
_NOT_WEIGHTS = {
    "weights": f"; {_SAME_MODEL}",
    "data": f", not weights; {_SAME_MODEL}",
    "archive": ", not weights; unpack it first",
    "pointer": ", not the weights; run `git lfs pull` in its folder",
    "page": ", not weights; open its address in a browser to see what it says",
    "text": ", not weights; give the folder of the checkpoint, or the file with its weights",
} | dict.fromkeys(("picture", "raw", "video", "sound", "document"), ", not weights")
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
        head: its first :data:`triptych.image.signatures.HEAD` bytes.
    """
    if not head:
        return "is empty; get it again"
    suffix = path.suffix.lower()
    if b"<net " in head:
        return _GRAPH.format(_GRAPHS[".xml"])
    if suffix in _GRAPHS or _ONNX.match(head):
        return _GRAPH.format(_GRAPHS.get(suffix, _GRAPHS[".onnx"]))
    if suffix == ".msgpack":
        return f"holds weights for Flax; {_SAME_MODEL}"
    if found := signature(head):
        return f"is {found.name}{_NOT_WEIGHTS[found.kind]}"
    return "is no file of weights: neither safetensors, nor of torch.save, nor pickled arrays"


def foreign_zip(members: Sequence[str]) -> str:
    """What a zip archive of these files is; nothing if ``torch.save`` wrote it."""
    for end, told in _ZIPS:
        if any(member.endswith(end) for member in members):
            return told
    if not any(member.rpartition("/")[2] == "data.pkl" for member in members):
        return "is a zip archive, but none of torch.save; unpack it first"
    return ""


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
