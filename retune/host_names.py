"""The hosts that requests name in `Host` and `Origin`, parsed whole: a good beginning or end is not enough."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

_LONGEST_NAME = 253  # RFC 1035
_PORT = r"(?::(?P<port>[0-9]{1,5}))?"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
# RFC 3986's authority without what no browser sends: user names, IPv6 zones, percent-encoded bytes.
_AUTHORITY: Final = re.compile(
    rf"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*)\.?){_PORT}", re.ASCII | re.IGNORECASE
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)


def host_of(authority: str) -> str | None:
    """The host that a `Host` header names: lower case, without port, brackets and the dot at its end.

    Returns:
        A DNS name or an IP address in its shortest form; None where the text is not exactly a host and its port.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None or len(authority) > _LONGEST_NAME + len(".:65535") or int(match["port"] or 0) > 65_535:
        return None
    if match["ipv6"]:
        try:
            return str(ipaddress.IPv6Address(match["ipv6"]))
        except ValueError:
            return None
    return match["name"].lower()


def host_of_origin(origin: str) -> str | None:
    """The host of a page's `Origin`; None where it has none (`null`) or is not exactly scheme, host and port."""
    scheme = _SCHEME.match(origin)
    return host_of(origin[scheme.end() :]) if scheme else None


def normalized_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """Hosts as `host_of` gives them, from what an operator wrote: with or without brackets and port.

    What is not a host matches nothing, and is left out.
    """
    found = (host_of(f"[{host}]" if host.count(":") > 1 and "[" not in host else host) for host in hosts)
    return frozenset(host for host in found if host)


def is_loopback(host: str) -> bool:
    """Whether a host, as `host_of` gives it, is always this machine: no name server can say otherwise."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
