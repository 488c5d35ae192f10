"""An image from an address, which the user allowed: little, soon, and by http(s) alone."""

import http.client
import time
import urllib.request
from queue import Empty, Queue
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from facemask.errors import InputError

MAX_BYTES = 50_000_000
SECONDS = 120.0  # in all
PAUSE = 10.0  # s without a byte, after which the server is given up
CHUNK = 1 << 16
# No handler of file:, ftp: or data: is among them, so no redirect leads there.
HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)


class Limits(NamedTuple):
    """Most bytes of a download, and seconds in all."""

    size: int = MAX_BYTES
    seconds: float = SECONDS


def download(address: str, stop: Event, limits: Limits = Limits()) -> bytes:  # noqa: B008 - frozen
    """Return what is at an http(s) address.

    Args:
        address: as `sources.find` checked it.
        stop: when it is set, the download is given up.
        limits: of size and time.

    Raises:
        InputError: there is nothing, it is too large or takes too long; without the address.
    """
    results: Queue[bytes | InputError] = Queue()
    deadline = time.monotonic() + limits.seconds
    # A daemon: neither a server that is silent nor one that trickles keeps the command from ending.
    Thread(target=_into, args=(results, address, limits, deadline), daemon=True).start()
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            result = results.get(timeout=0.1)
        except Empty:
            continue
        if isinstance(result, InputError):
            raise result
        return result
    raise InputError(_too_slow(limits))


def _into(
    results: "Queue[bytes | InputError]", address: str, limits: Limits, deadline: float
) -> None:
    try:
        results.put(_read(address, limits, deadline))
    except InputError as error:
        results.put(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        results.put(InputError(f"was not downloaded ({reason}); open it in a browser and save it"))


def _read(address: str, limits: Limits, deadline: float) -> bytes:
    opener = urllib.request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    # Letters that are not ASCII are written as browsers write them.
    plain = quote(address, safe="%/:?#[]@!$&'()*+,;=~")
    request = urllib.request.Request(plain, headers={"User-Agent": "facemask"})  # noqa: S310 - no other scheme has a handler
    content = bytearray()
    with opener.open(request, timeout=min(PAUSE, limits.seconds)) as response:
        _check_size(int(response.headers.get("Content-Length") or 0), limits)
        while chunk := response.read1(CHUNK):
            content += chunk
            _check_size(len(content), limits)
            if time.monotonic() > deadline:
                raise InputError(_too_slow(limits))
        if response.length:  # what is still to come, and did not
            raise InputError("was not downloaded to its end; try again")
    return bytes(content)


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.size:
        raise InputError(
            f"is larger than {limits.size:,} bytes; save it by yourself, and give the file"
        )


def _too_slow(limits: Limits) -> str:
    return f"took longer than {limits.seconds:g} s; save it by yourself, and give the file"


def name_of(address: str) -> str:
    """Return the file name at the end of an address, which may still hold anything."""
    return unquote(urlsplit(address).path).replace("\\", "/").rstrip("/").rpartition("/")[2]
