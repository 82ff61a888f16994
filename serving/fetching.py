"""Fetches an input from an address that a caller named, where the setting `allow_url_inputs` is on.

A service that fetches what it is told can be made to fetch what only it can reach (server-side request forgery). So:
only http and https, only public addresses, checked on the very address that is connected to (a name may resolve
differently the next time), the same for each redirect, no proxies, and limits of size and time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from registry.errors import BadInput, TooLarge

if TYPE_CHECKING:
    import aiohttp

LIMIT_S = 10.0
REDIRECTS = 3
MIB = 1 << 20
_MOVED = (301, 302, 303, 307, 308)

Allowed = Callable[[str], bool]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not private, loopback, link-local, multicast or reserved."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if found in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 (RFC 6052): the last four bytes are an IPv4 address
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast


async def fetch(url: str, max_bytes: int, allowed: Allowed = is_public, limit_s: float = LIMIT_S) -> bytes:
    """The bytes at `url`, of at most `max_bytes`.

    Args:
        allowed: which IP addresses may be connected to.

    Raises:
        BadInput: an address that is not allowed, malformed, or does not answer with 200 in time.
        TooLarge: more bytes.
    """
    import aiohttp

    try:
        async with (
            asyncio.timeout(limit_s),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_resolver(allowed), use_dns_cache=False),
                headers={"User-Agent": "visionloop", "Accept": "*/*", "Accept-Encoding": "identity"},
                auto_decompress=False,  # a few bytes could become gigabytes
                trust_env=False,
            ) as client,
        ):
            return await _follow(client, url, max_bytes, allowed)
    except TimeoutError as error:
        raise _failed(url, f"did not answer within {limit_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failed(url, "cannot be fetched") from error


async def _follow(client: aiohttp.ClientSession, url: str, max_bytes: int, allowed: Allowed) -> bytes:
    for _ in range(REDIRECTS + 1):
        _check(url, allowed)
        async with client.get(url, allow_redirects=False) as answer:
            if answer.status in _MOVED:
                url = urljoin(url, answer.headers.get("Location", ""))
                continue
            if answer.status != 200:
                raise _failed(url, f"answers {answer.status}")
            return await _read(answer, max_bytes)
    raise _failed(url, f"redirects more than {REDIRECTS} times")


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(
                f"the file at the address is more than {max_bytes / MIB:,.0f} MiB",
                expected=f"at most {max_bytes / MIB:,.0f} MiB",
                mend="name a smaller file, or raise max_upload_mb",
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _check(url: str, allowed: Allowed) -> None:
    """The scheme, and an IP address that stands in the URL itself: that one is not resolved."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        known = parts.scheme in ("http", "https") and bool(host) and parts.username is None and parts.port != 0
    except ValueError:
        known, host = False, ""
    if not known:
        raise BadInput(
            f"the address is {url[:200]!r}", expected="http://HOST/... or https://HOST/...", mend="correct the address"
        )
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not allowed(host):
        raise _forbidden(host)


def _resolver(allowed: Allowed) -> Any:
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver

    class Checked(AbstractResolver):
        """Only addresses that are allowed; a name with one that is not, is not allowed either."""

        def __init__(self) -> None:
            self._inner = ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            found = await self._inner.resolve(host, port, family)
            for one in found:
                if not allowed(one["host"]):
                    raise _forbidden(host)
            return found

        async def close(self) -> None:
            await self._inner.close()

    return Checked()


def _forbidden(host: str) -> BadInput:
    return BadInput(
        f"{host[:200]} is not a public address",
        expected="a file on the open internet",
        mend="send the file itself: a service does not fetch from inside its own network",
    )


def _failed(url: str, how: str) -> BadInput:
    return BadInput(f"{url[:200]} {how}", expected="200 with the file", mend="correct the address, or send the file")
