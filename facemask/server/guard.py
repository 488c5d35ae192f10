"""What stands before the routes: limits on hosts, bytes, time and requests at once; headers.

Every refusal is JSON, {"error": reason}, and no response lacks the security headers.
"""

import asyncio
import ipaddress
import json
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("uvicorn.error")
LOCAL = ("localhost", "127.0.0.1", "::1")
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 # nosec B104
DRAINED = 4  # times the largest size that is read and dropped, so that a client sees the refusal
HEADERS = {
    # Scripts and data from here alone; what onnxruntime-web needs is 'wasm-unsafe-eval'.
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    # Only a page that is isolated so has threads in WebAssembly.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
CACHE = {"cache-control": "no-store"}  # unless the route says otherwise
FAILED = "the server failed; its log says why"
BUSY = {"retry-after": "2"}


class Limits(NamedTuple):
    """What the server takes at most.

    bytes: of a body; pixels: of an image; at_once: images decoded at the same time; waiting: as
    many more wait for that; seconds: until a body is complete; head_seconds: until the head of a
    request is; connections: open ones.
    """

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    at_once: int = 2
    waiting: int = 8
    seconds: float = 30.0
    head_seconds: float = 10.0
    connections: int = 200


class Refusal(Exception):
    """A request that is not answered: a status, the reason, further headers."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


class Gone(Exception):
    """The client left before its request was complete."""


class Guard:
    """The outermost ASGI application.

    Args:
        app: what handles the requests that pass.
        limits: of them.
        hosts: names that a Host header may have, besides those of this machine.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Collection[str] = ()) -> None:
        self.app, self.limits = app, limits
        self.hosts = {*LOCAL, *(name.lower() for name in hosts)}
        self.held = 0  # bytes of bodies
        self.busy = 0  # requests with a body that are being answered, or wait for that
        self.slots = asyncio.Semaphore(limits.at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self.limits.seconds)
        try:
            headers = _headers(scope)
            self._check_host(headers)
            if not {"content-length", "transfer-encoding"} & {*headers}:
                await self.app(scope, receive, answer.send)
                return
            self._check_origin(headers)
            async with self._body(headers, receive) as body, self._slot():
                await self.app(scope, _replay(body, receive), answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except (Gone, TimeoutError):  # nobody reads the answer
            pass
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            await answer.refuse(Refusal(500, FAILED))

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """Without this, a page of another site could give its own name this machine's address."""
        if not self._knows(headers.get("host", "")):
            raise Refusal(
                421, "this server is not known by that name; start it with --allow-host NAME"
            )

    def _knows(self, host: str) -> bool:
        name = host_name(host)
        if self.hosts & ANYWHERE and is_address(name):
            return True  # that of any of its networks; only a name can be given another address
        return name in self.hosts or name.endswith(".localhost")

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None:
            return
        netloc = urlsplit(origin).netloc
        if netloc != headers.get("host") and host_name(netloc) not in self.hosts - {*LOCAL}:
            raise Refusal(403, "pages of other sites may not send images here")

    @asynccontextmanager
    async def _body(self, headers: Mapping[str, str], receive: Receive) -> AsyncIterator[bytes]:
        """The whole body, counted among what is held until it is no longer needed."""
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self.limits.seconds):
                    await self._read(headers, receive, body)
            except TimeoutError:
                raise Refusal(
                    408, f"the body was not complete after {self.limits.seconds:g} s; send it again"
                ) from None
            yield bytes(body)
        finally:
            self.held -= len(body)

    async def _read(self, headers: Mapping[str, str], receive: Receive, body: bytearray) -> None:
        most = self.limits.bytes
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared) > most:
            if "expect" not in headers:
                await _drain(receive, most * DRAINED)
            raise self._too_large()
        async for chunk in _chunks(receive):
            if len(body) + len(chunk) > most:
                await _drain(receive, most * DRAINED)
                raise self._too_large()
            if self.held + len(chunk) > most * (self.limits.at_once + self.limits.waiting):
                raise Refusal(503, "the server holds too many images; try again soon", BUSY)
            body += chunk
            self.held += len(chunk)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"more than {self.limits.bytes:,} bytes; make the image smaller")

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait until fewer images than `at_once` are decoded, but not in a long queue."""
        if self.busy >= self.limits.at_once + self.limits.waiting:
            raise Refusal(503, "the server is busy; try again soon", BUSY)
        self.busy += 1
        try:
            async with self.slots:
                yield
        finally:
            self.busy -= 1


class _Answer:
    """Sends a response with the security headers; knows whether it has begun."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds, self._begun = send, seconds, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            message["headers"] = [*message.get("headers", []), *_missing(message)]
        # A client that stops reading holds a connection no longer than one that stops writing.
        await asyncio.wait_for(self._send(message), self._seconds)

    async def refuse(self, refusal: Refusal) -> None:
        if self._begun:  # the server then closes the connection
            return
        body = error_body(refusal.reason)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **refusal.headers,
        }
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})


def error_body(reason: str) -> bytes:
    """Return the JSON of a refusal."""
    return json.dumps({"error": reason}).encode()


def raw_response(status: int, reason: str) -> bytes:
    """Return a refusal as it goes over the wire, for requests that never became any."""
    body = error_body(reason)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **(BUSY if status == 503 else {}),
        **CACHE,
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def host_name(host: str) -> str:
    """Return the name or address in a Host header: without port and brackets, in lower case."""
    name = host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.removeprefix("[").lower()


def is_address(name: str) -> bool:
    """Return whether a name is an IP address, without brackets."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


def _missing(message: Message) -> list[tuple[bytes, bytes]]:
    """The security headers, and the cache's unless there is one."""
    present = {bytes(key).lower() for key, _ in message.get("headers", [])}
    wanted = {**CACHE, **HEADERS}
    return [
        (key.encode(), value.encode())
        for key, value in wanted.items()
        if key.encode() not in present
    ]


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _drain(receive: Receive, most: int) -> None:
    """Read and drop: a client that is cut off while it sends does not see why."""
    async for chunk in _chunks(receive):
        most -= len(chunk)
        if most < 0:
            return


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body at once, then whether the client left."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed
