"""Run the server: open its port, say where it is, answer until it is stopped."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from facemask.errors import InputError
from facemask.server.app import IN_BROWSER, build
from facemask.server.guard import ANYWHERE, LOCAL, Limits, is_address
from facemask.server.protocol import protocol

REASONS = {
    errno.EADDRINUSE: "is taken by another program; choose another with --port",
    errno.EACCES: "may not be used without more rights; choose one from 1024 on with --port",
    errno.EADDRNOTAVAIL: "is not an address of this machine; choose another with --host",
}


def serve(
    host: str,
    port: int,
    allowed: Sequence[str],
    limits: Limits,
    model: Path,
    say: Callable[[str], None],
) -> None:
    """Answer requests until Ctrl+C.

    Args:
        host: name or address of this machine; 0.0.0.0 or :: for all of them.
        port: 0 for any that is free.
        allowed: further names under which the server may be reached.
        limits: of requests.
        model: an exported detector.
        say: prints a line.

    Raises:
        InputError: the port is taken, the host is not an address of this machine, an allowed name
            is not a name, or there is no such model.
    """
    for name in allowed:
        if {":", "/"} & {*name} and not is_address(name):
            raise InputError(f"--allow-host {name}: give a name alone, without scheme and port")
    app = build(limits, [host, *allowed], model)
    with _listen(host, port) as opened:
        config = uvicorn.Config(
            app,
            http=protocol(limits),
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        name = "localhost" if host in ANYWHERE else host
        shown = f"[{name}]" if ":" in name else name
        say(f"facemask: http://{shown}:{opened.getsockname()[1]} (Ctrl+C stops it)")
        if not _is_loopback(host):
            say("Other machines reach it under this machine's address; anyone on the network can.")
        if not IN_BROWSER.is_file():
            say(
                "The page sends images to this server: what runs the model in a browser is not "
                "installed (there was no npm)."
            )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[opened])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: {error}; give an address of this machine") from error
    opened = socket.socket(family, kind, number)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        reason = REASONS.get(error.errno or 0, f"cannot be opened: {error.strerror}")
        raise InputError(f"{host}, port {port}: {reason}") from error
    return opened


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL
