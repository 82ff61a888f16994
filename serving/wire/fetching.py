"""Fetches an input from an address that a caller named, where the setting `allow_url_inputs` is on.

A caller could make a service fetch what only the service can reach (server-side request forgery). So: only http and
https, only public addresses, no proxies, and limits of size and time. The check is made on the very address that is
connected to, because a name may resolve differently the next time; and again for each redirect.

This is written by hand: no maintained library does all of it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry.core.errors import BadInput
from serving.wire.admission import too_large

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

FETCH_TIMEOUT_S = 10.0
MAX_REDIRECTS = 3
MAX_URL_LENGTH = 8000
"""Characters; RFC 9110, section 4.1, asks for 8000. IDNA takes seconds for a name of a million."""
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)

AddressCheck = Callable[[str], bool]


def is_public(address: str) -> bool:
    """Whether an IP address is on the open internet: not private, loopback, link-local, multicast or reserved."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if found in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 (RFC 6052): the last four bytes are an IPv4 address
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.is_site_local:
            return False
    # Reserved, and yet global to `ipaddress`: IPv4-compatible and -translated addresses, the NAT64 of RFC 8215.
    return found.is_global and not found.is_multicast and not found.is_reserved


def address_check(private: bool) -> AddressCheck:
    """Which IP addresses may be connected to: public ones, or with `private` all."""
    return (lambda address: True) if private else is_public


def check_address(url: str, allowed: AddressCheck = is_public) -> None:
    """Raises BadInput for an address that is malformed, or has an IP address that is not allowed. Resolves no name."""
    _check(_parsed(url), allowed)


async def post(
    url: str, body: bytes, headers: dict[str, str], allowed: AddressCheck = is_public, limit_s: float = FETCH_TIMEOUT_S
) -> int:
    """Posts to `url`, follows no redirect, and returns the status of the answer, whose body is not read.

    Raises:
        BadInput: an address that is not allowed, malformed, or does not answer in time.
    """
    import aiohttp

    parsed = _parsed(url)
    _check(parsed, allowed)
    try:
        async with (
            asyncio.timeout(limit_s),
            _session(allowed) as client,
            client.post(parsed, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return int(answer.status)
    except TimeoutError as error:
        raise _failed(url, f"did not answer within {limit_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failed(url, "cannot be reached") from error


async def fetch(
    url: str,
    max_bytes: int,
    allowed: AddressCheck = is_public,
    limit_s: float = FETCH_TIMEOUT_S,
    on_bytes: Callable[[int], None] = lambda size: None,
) -> bytes:
    """The bytes at `url`, of at most `max_bytes`.

    Args:
        allowed: which IP addresses may be connected to.
        on_bytes: called with the size of every chunk; what it raises ends the fetch.

    Raises:
        BadInput: an address that is not allowed, malformed, or does not answer with 200 in time.
        TooLarge: more bytes.
    """
    import aiohttp

    parsed = _parsed(url)
    try:
        async with asyncio.timeout(limit_s), _session(allowed) as client:
            return await _follow(client, parsed, max_bytes, allowed, on_bytes)
    except TimeoutError as error:
        raise _failed(url, f"did not answer within {limit_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failed(url, "cannot be fetched") from error


def _session(allowed: AddressCheck) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_resolver(allowed), use_dns_cache=False),
        headers={"User-Agent": "visionloop", "Accept": "*/*", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),  # a site's cookies must not reach the next redirect
        auto_decompress=False,  # a few bytes could become gigabytes
        trust_env=False,
    )


async def _follow(
    client: aiohttp.ClientSession, url: URL, max_bytes: int, allowed: AddressCheck, on_bytes: Callable[[int], None]
) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        _check(url, allowed)
        async with client.get(url, allow_redirects=False) as answer:
            if answer.status in _REDIRECT_STATUSES:
                url = url.join(_parsed(answer.headers.get("Location", "")))
                continue
            if answer.status != 200:
                raise _failed(str(url), f"answers {answer.status}")
            return await _read(answer, max_bytes, on_bytes)
    raise _failed(str(url), f"redirects more than {MAX_REDIRECTS} times")


async def _read(answer: aiohttp.ClientResponse, max_bytes: int, on_bytes: Callable[[int], None]) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise too_large(f"the file at the address has more than {max_bytes:,} bytes", max_bytes)
        on_bytes(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _parsed(url: str) -> URL:
    """The address as the HTTP client reads it; another parser might see another host. IDNA (UTS 46) turns full-width or
    circled digits into 127.0.0.1. Raises BadInput."""
    from yarl import URL

    if len(url) > MAX_URL_LENGTH:
        raise BadInput(
            f"the address has {len(url):,} characters",
            expected=f"at most {MAX_URL_LENGTH:,}",
            fix="send the file itself",
        )
    try:
        return URL(url)
    except ValueError as error:
        raise _malformed(url) from error


def _check(url: URL, allowed: AddressCheck) -> None:
    """Checks the scheme, and a host that is an IP address: nothing resolves that one. Raises BadInput."""
    host = url.raw_host or ""
    if url.scheme not in ("http", "https") or not host or url.user or url.password or url.port == 0:
        raise _malformed(str(url))
    if ":" in host or host.replace(".", "").isdigit():  # what aiohttp takes for an IP address
        try:
            public = allowed(host)
        except ValueError:
            public = False
        if not public:
            raise _forbidden(host)


def _resolver(allowed: AddressCheck) -> Any:
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver

    class CheckedResolver(AbstractResolver):
        """Refuses a name of which one address is not allowed."""

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

    return CheckedResolver()


def _malformed(url: str) -> BadInput:
    return BadInput(
        f"the address is {url[:200]!r}", expected="http://HOST/... or https://HOST/...", fix="correct the address"
    )


def _forbidden(host: str) -> BadInput:
    return BadInput(
        f"{host[:200]} is not a public address",
        expected="a file on the open internet",
        fix="send the file itself: a service does not fetch from inside its own network",
    )


def _failed(url: str, how: str) -> BadInput:
    return BadInput(f"{url[:200]} {how}", expected="200 with the file", fix="correct the address, or send the file")
