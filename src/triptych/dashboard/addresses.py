"""Which addresses may be added as a source while the server runs."""

from __future__ import annotations

import ipaddress
import socket
from typing import Literal
from urllib.parse import urlsplit

from triptych.errors import TriptychError
from triptych.stream.sources import PROTOCOLS, safe_name

Policy = Literal["none", "public", "any"]


def check_address(spec: str, policy: Policy) -> None:
    """See that the operator allows a source to be added.

    ``public`` looks at the address, and at all that its name stands for now. What a server does
    then (send on to another address, name another in a playlist) is beyond it; who must rule
    that out forbids the process inner addresses, as the operators' page shows.

    Args:
        spec: as it came through the API.
        policy: ``none``; ``public``, network addresses outside; ``any``, local files too.

    Raises:
        TriptychError: it is not allowed, or its name is not known.
    """
    if policy == "none":
        raise TriptychError("sources cannot be added here; see triptych serve --allow-sources")
    if policy == "any":
        return
    scheme, separator, _ = spec.partition("://")
    if not separator or scheme.lower() not in PROTOCOLS:
        raise TriptychError(f"only addresses may be added: {', '.join(PROTOCOLS)}")
    try:
        host, port = urlsplit(spec).hostname, urlsplit(spec).port
    except ValueError as error:
        raise TriptychError(f"{safe_name(spec)}: is no address ({error})") from error
    if not host:
        raise TriptychError(f"{safe_name(spec)}: names no host")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TriptychError(f"{host}: is not known ({error})") from error
    for *_, address in found:
        if not is_public(str(address[0])):
            raise TriptychError(
                f"{host}: leads to an address inside the network, which is not allowed"
            )


def is_public(address: str) -> bool:
    """Whether an address belongs to the outer internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        # An IPv4 address in the clothes of an IPv6 one is judged as what it is.
        found = found.ipv4_mapped or found.sixtofour or found
    return found.is_global and not found.is_multicast
