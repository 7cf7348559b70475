"""What a file is by its first bytes, for messages about files of another kind than was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEAD = 512
"""First bytes of a file that :func:`signature` looks at."""


@dataclass(frozen=True)
class Signature:
    """A kind of file."""

    name: str
    """With its article: "a HEIC picture"."""
    kind: str
    """picture, raw (a photo before it is developed), video, sound, archive, document, weights,
    data, text, page (of the web) or pointer (to a file that is not here)."""


def _kind(kind: str, *marks: tuple[str, int, bytes]) -> list[tuple[int, bytes, Signature]]:
    return [(place, mark, Signature(name, kind)) for name, place, mark in marks]


_HEIC = Signature("a HEIC picture", "picture")
_BRANDS = {
    # Of the container that MP4, HEIC, AVIF and Canon's RAW share.
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIC
    ),
    **dict.fromkeys((b"avif", b"avis"), Signature("an AVIF picture", "picture")),
    b"crx ": Signature("a RAW photo of Canon (CR3)", "raw"),
    b"M4A ": Signature("a sound (M4A)", "sound"),
}
_MARKS = [
    *_kind(
        "raw",
        ("a RAW photo of Canon (CR2)", 8, b"CR\x02\x00"),
        ("a RAW photo of Fujifilm (RAF)", 0, b"FUJIFILMCCD-RAW"),
        ("a RAW photo of Panasonic (RW2)", 0, b"IIU\x00"),
        ("a RAW photo of Olympus (ORF)", 0, b"IIRO"),
        ("a RAW photo of Olympus (ORF)", 0, b"IIRS"),
        ("a RAW photo of Sigma (X3F)", 0, b"FOVb"),
    ),
    *_kind(
        "picture",
        ("a JPEG picture", 0, b"\xff\xd8\xff"),
        ("a PNG picture", 0, b"\x89PNG\r\n\x1a\n"),
        ("a GIF picture", 0, b"GIF8"),
        ("a WebP picture", 8, b"WEBP"),
        ("a TIFF picture", 0, b"II*\x00"),
        ("a TIFF picture", 0, b"MM\x00*"),
        ("a BigTIFF picture", 0, b"II+\x00"),
        ("a BigTIFF picture", 0, b"MM\x00+"),
        ("a JPEG 2000 picture", 4, b"jP  \r\n\x87\n"),
        ("a JPEG 2000 picture", 0, b"\xff\x4f\xff\x51"),
        ("a JPEG XL picture", 0, b"\xff\x0a"),
        ("a JPEG XL picture", 4, b"JXL \r\n\x87\n"),
        ("a JPEG XR picture", 0, b"II\xbc\x01"),
        ("a Photoshop file (PSD)", 0, b"8BPS"),
        ("a GIMP file (XCF)", 0, b"gimp xcf"),
        ("an OpenEXR picture", 0, b"\x76\x2f\x31\x01"),
        ("a Radiance picture (HDR)", 0, b"#?RADIANCE"),
        ("an icon (ICO)", 0, b"\x00\x00\x01\x00"),
        ("a texture (DDS)", 0, b"DDS "),
        ("a texture (KTX)", 1, b"KTX "),
        ("a QOI picture", 0, b"qoif"),
        ("a DjVu document", 0, b"AT&TFORM"),
    ),
    *_kind(
        "data",
        ("a FITS file", 0, b"SIMPLE  ="),
        ("a DICOM file", 128, b"DICM"),
        ("a NIfTI file", 344, b"n+1\x00"),
        ("an HDF5 file, as Keras, TensorFlow and NetCDF write", 0, b"\x89HDF\r\n\x1a\n"),
        ("a NetCDF file", 0, b"CDF\x01"),
        ("a single array of numpy (.npy)", 0, b"\x93NUMPY"),
        ("a GRIB file", 0, b"GRIB"),
    ),
    *_kind(
        "document",
        ("a PDF document", 0, b"%PDF"),
        ("a PostScript document (EPS)", 0, b"%!PS"),
        ("a PostScript document (EPS)", 0, b"\xc5\xd0\xd3\xc6"),
    ),
    *_kind(
        "archive",
        ("a zip archive", 0, b"PK\x03\x04"),
        ("a gzip archive", 0, b"\x1f\x8b"),
        ("a bzip2 archive", 0, b"BZh"),
        ("an xz archive", 0, b"\xfd7zXZ"),
        ("a 7z archive", 0, b"7z\xbc\xaf\x27\x1c"),
        ("a rar archive", 0, b"Rar!"),
        ("a zstd archive", 0, b"(\xb5/\xfd"),
        ("a tar archive", 257, b"ustar"),
    ),
    *_kind(
        "video",
        ("a video (Matroska or WebM)", 0, b"\x1aE\xdf\xa3"),
        ("a video (AVI)", 8, b"AVI "),
        ("a video (FLV)", 0, b"FLV\x01"),
        ("a video (Ogg)", 0, b"OggS"),
        ("a video (MPEG)", 0, b"\x00\x00\x01\xba"),
        ("a video (MPEG)", 0, b"\x00\x00\x01\xb3"),
        ("a video (WMV)", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        ("a video (MXF)", 0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01"),
        ("a video (QuickTime)", 4, b"moov"),
        ("a video (QuickTime)", 4, b"mdat"),
        ("a video (MP4)", 4, b"ftyp"),
    ),
    *_kind(
        "sound",
        ("a sound (WAV)", 8, b"WAVE"),
        ("a sound (MP3)", 0, b"ID3"),
        ("a sound (FLAC)", 0, b"fLaC"),
    ),
    *_kind(
        "weights",
        ("a GGUF file, weights for llama.cpp", 0, b"GGUF"),
        ("a graph of TensorFlow Lite", 4, b"TFL3"),
        ("a safetensors file", 4, b"\0\0\0\0{"),
    ),
]
_PAGES = (b"<!doctype html", b"<html", b"<head")
_LFS = b"version https://git-lfs"
_SYNC = b"\x47"  # every 188 bytes in a transport stream


def signature(head: bytes) -> Signature | None:
    """The kind of a file that begins with ``head``, or None where nobody knows."""
    if head[4:8] == b"ftyp" and (found := _BRANDS.get(head[8:12])):
        return found
    for place, mark, told in _MARKS:
        if head[place : place + len(mark)] == mark:
            return told
    if head[:1] == _SYNC == head[188:189] == head[376:377]:
        return Signature("a video (MPEG transport stream)", "video")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_LFS):
        return Signature("a git-lfs pointer", "pointer")
    if b"<svg" in start:
        return Signature("an SVG drawing", "document")
    if start.startswith(_PAGES):
        return Signature("a web page", "page")
    return Signature("a text file", "text") if head and _is_text(head) else None


def signature_of(path: Path) -> Signature | None:
    """The kind of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return signature(file.read(HEAD))


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
