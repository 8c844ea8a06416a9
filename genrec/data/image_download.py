"""Downloads a picture from a URL in a table, without letting the table reach into the local network.

Every host name is resolved here, every address it has must be public, and the connection goes to the very address that was
checked, so that a name which changes its address in between (DNS rebinding) gains nothing. Redirects are checked the same way.
One deadline covers the whole exchange, so that a server which sends a byte now and then cannot keep the reader waiting.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from genrec.errors import MediaError

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_HEADERS = {"User-Agent": "genrec", "Accept": "image/*", "Accept-Encoding": "identity"}


def fetch(url: str, *, max_bytes: int, timeout_s: float, allow_private: bool) -> bytes:
    """The body at `url`, at most `max_bytes` of it, within `timeout_s` seconds. Raises MediaError."""
    backend = _Guarded(time.monotonic() + timeout_s, allow_private)
    with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:
        for _ in range(_MAX_REDIRECTS + 1):
            target = _checked(url)
            address = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
            try:
                with pool.stream("GET", address, headers={**_HEADERS, "Host": target.netloc.decode("ascii")}) as response:
                    location = _location(response)
                    if location is None:
                        return _body(url, response, max_bytes)
            except httpcore.TimeoutException as error:
                raise MediaError(f"{url}: no picture within {timeout_s:g} s", retryable=True) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                raise MediaError(f"{url}: {str(error) or type(error).__name__}", retryable=True) from error
            url = _joined(target, location)
    raise MediaError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _checked(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise MediaError(f"{url[:200]!r} is not a URL: {error}") from error
    if target.scheme not in ("http", "https"):
        raise MediaError(f"{url[:200]}: only http and https are taken")
    if not target.host:
        raise MediaError(f"{url[:200]!r} names no host")
    return target.copy_with(username=None, password=None, fragment=None)


def _joined(target: httpx.URL, location: str) -> str:
    try:
        return str(target.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise MediaError(f"{target} redirects to {location[:200]!r}, which is not a URL") from error


def _location(response: httpcore.Response) -> str | None:
    if response.status not in _REDIRECTS:
        return None
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"location"), None)


def _body(url: str, response: httpcore.Response, max_bytes: int) -> bytes:
    if response.status != 200:
        raise MediaError(f"{url}: the server answered {response.status}", retryable=response.status >= 500)
    parts, size = [], 0
    for part in response.iter_stream():
        size += len(part)
        if size > max_bytes:
            raise MediaError(f"{url}: larger than {max_bytes:,} bytes")
        parts.append(part)
    return b"".join(parts)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, also when it is an IPv4 address inside an IPv6 one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and (ip in _NAT64 or int(ip) >> 32 == 0):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


class _Guarded(httpcore.NetworkBackend):
    """Connects to checked addresses only; no operation outlasts the deadline."""

    def __init__(self, deadline: float, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host {host} is not known") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private and (private := [one for one in addresses if not is_public(one)]):
            message = f"{host} is at {private[0]}, which is a private or reserved address"
            raise MediaError(message, hint="Set ingest.allow_private_addresses if the pictures are on your own network.")
        failure: Exception = httpcore.ConnectError(f"the host {host} has no address")
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(address, port, timeout=_left(self._deadline), local_address=local_address)
            except httpcore.ConnectError as error:
                failure = error
                continue
            return _Stream(stream, self._deadline)
        raise failure


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is up")
    return left


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
