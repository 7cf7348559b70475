"""What a user may name as a source, and the readers behind it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from triptych.errors import TriptychError
from triptych.image.find import find_images
from triptych.stream.media import require_av, still_pictures, video_pictures
from triptych.stream.reader import Hopeless, Mode, Patience, Picture
from triptych.stream.samples import street_clip
from triptych.stream.source import Source

PROTOCOLS: dict[str, str] = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtsps,rtp,udp,tcp,tls,crypto",
    "http": "http,https,tcp,tls,crypto,httpproxy",
    "https": "http,https,tcp,tls,crypto,httpproxy",
    "rtmp": "rtmp,tcp",
    "udp": "udp,rtp",
    "tcp": "tcp",
}
"""Schemes of addresses, and the protocols FFmpeg may use for each: a playlist from the network
cannot make it open a file."""

NETWORK_TIMEOUT = 5.0
"""Seconds without data after which a connection counts as lost."""


def open_source(
    spec: str,
    *,
    realtime: bool | None = None,
    rate: float = 25.0,
    confined: bool = False,
    patience: Patience | None = None,
) -> Source:
    """Make a source of what a user names; nothing is read before it is started.

    Args:
        spec: a video file, a folder of frames (in the natural order of their names: 1, 2, 10), the
            index of a webcam (``0`` is ``/dev/video0``), an address (rtsp, rtsps, http, https,
            rtmp, udp or tcp), or ``demo``, the packaged street clip, over and over.
        realtime: of a file or folder: at the pace at which it was taken, skipping what comes too
            fast (True), or every frame (False, the default).
        rate: frames a second of a folder.
        confined: of an address over HTTP: follow no redirection and read no playlist, which could
            lead to other addresses. For addresses that strangers give.
        patience: how long is waited for what.

    Raises:
        TriptychError: there is no such file, folder or webcam; the scheme is unknown; PyAV is not
            installed. A camera on the network that does not answer is no error: it is tried again.
            An address that can be none fails when it is read; see :func:`check_spelling`.
    """
    if not spec.strip():
        raise TriptychError("the source is empty; name a file, a webcam, an address or demo")
    scheme = _scheme(spec)
    if scheme is not None:
        if realtime is False:
            raise TriptychError(f"{safe_name(spec)}: only files and folders are read losslessly")
        return _network(spec, scheme, confined, patience)
    mode = Mode.REALTIME if realtime else Mode.LOSSLESS
    if spec == "demo":
        require_av()
        opener = functools.partial(video_pictures, local(street_clip()), "demo", options=FILE)
        mode = Mode.LOSSLESS if realtime is False else Mode.REALTIME
        return Source(opener, name="demo", mode=mode, loop=True, patience=patience)
    path = Path(f"/dev/video{spec}" if spec.isdecimal() and not Path(spec).exists() else spec)
    if path.is_char_device():
        require_av()
        opener = functools.partial(
            video_pictures, str(path), str(path), driver="v4l2", live=True, timeout=NETWORK_TIMEOUT
        )
        return Source(opener, name=spec, mode=Mode.LIVE, patience=patience)
    if spec.isdecimal() and not path.exists():
        raise TriptychError(f"no webcam {spec}: there is no {path}; see `ls /dev/video*`")
    if path.is_dir():
        if not 0.01 <= rate <= 1000:
            raise TriptychError(f"rate is {rate}; give 0.01 to 1000 frames a second")
        images, problems = find_images([str(path)])
        if not images:
            raise TriptychError("; ".join(problems))
        opener = functools.partial(still_pictures, [image.path for image in images], rate)
        return Source(opener, name=spec, mode=mode, patience=patience)
    if not path.is_file():
        what = "is no file or folder" if path.exists() else "no such file or folder"
        raise TriptychError(f"{path}: {what}; name a video, a webcam, an address or demo")
    require_av()
    opener = functools.partial(video_pictures, local(path), str(path), options=FILE)
    return Source(opener, name=spec, mode=mode, patience=patience)


FILE = {"protocol_whitelist": "file"}


def local(path: Path) -> str:
    """A file as FFmpeg is to open it, which takes what stands before a colon for a protocol."""
    return f"file:{path}"


_ALONE = {
    "max_redirects": "0",
    "format_whitelist": "mpegts,mpjpeg,mjpeg,matroska,webm,mov,mp4,flv,h264,hevc,mpegvideo,avi,ogg",
}
"""Formats whose data is all in one place."""


def _network(spec: str, scheme: str, confined: bool, patience: Patience | None) -> Source:
    if scheme not in PROTOCOLS:
        raise TriptychError(
            f"{safe_name(spec)}: {scheme} addresses are not read; there are {', '.join(PROTOCOLS)}"
        )
    require_av()
    options = {"protocol_whitelist": PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # UDP loses packets on any busy network
    elif confined and scheme.startswith("http"):
        options |= _ALONE
    name = safe_name(spec)
    opener = functools.partial(_pictures_at, spec, name, options=options)
    return Source(opener, name=name, mode=Mode.LIVE, patience=patience)


def _pictures_at(spec: str, name: str, *, options: Mapping[str, str]) -> Iterator[Picture]:
    try:
        check_spelling(spec)
    except TriptychError as error:
        raise Hopeless(str(error)) from error
    scheme, separator, rest = spec.partition("://")
    place = scheme.lower() + separator + rest  # FFmpeg knows no capitals, RFC 3986 takes any
    return video_pictures(place, name, options=options, live=True, timeout=NETWORK_TIMEOUT)


def check_spelling(spec: str) -> None:
    """Refuse an address that can be none: waiting for the camera would be in vain.

    What is no address is left alone.

    Raises:
        TriptychError: it names no host, a port that is none, or a password with signs that end the
            host.
    """
    scheme = _scheme(spec)
    if scheme not in PROTOCOLS:
        return
    rest = spec.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    place = authority.rpartition("@")[2]
    host, _, port = place.rpartition(":") if re.search(r":[^\]]*$", place) else (place, "", "")
    is_port = not port or (port.isascii() and port.isdecimal() and 0 < int(port) < 65536)
    # A path may hold an @ as well, but hardly that of a camera.
    secret = "@" in rest[len(authority) :] and "@" not in authority
    if secret and (not is_port or not scheme.startswith("http")):
        raise TriptychError(
            f"{safe_name(spec)}: the user or password before the host holds /, ? or #; write them "
            "as %2F, %3F and %23 in the address"
        )
    if not host.strip("[]"):
        raise TriptychError(f"{safe_name(spec)}: names no host; write {scheme}://HOST/...")
    if not is_port:
        raise TriptychError(f"{safe_name(spec)}: the port is {port!r}; give 1 to 65535")


def _scheme(spec: str) -> str | None:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec)
    return found[1].lower() if found else None


def safe_name(spec: str) -> str:
    """The source as it may be shown and logged: an address without user, password and query."""
    scheme = _scheme(spec)
    if scheme is None:
        return spec
    # Up to the last @, wherever it is: a password may hold what should have been escaped.
    place = spec.partition("://")[2].rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', place)[0]}"
