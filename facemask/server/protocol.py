"""HTTP as uvicorn speaks it, but with a limit on how long the head of a request may take."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemask.server.guard import Limits, raw_response


class _Timed(H11Protocol):
    """A connection; `_late` runs out while it waits for the head of a request."""

    limits = Limits()
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._close_with(503, "the server has too many connections; try again soon")
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._close_with(400, f"malformed HTTP: {msg}")

    def _watch(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if not waits or self.transport.is_closing():
            self._stop()
        elif self._late is None:
            self._late = self.loop.call_later(self.limits.head_seconds, self._too_late)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        seconds = self.limits.head_seconds
        self._close_with(408, f"the request was not complete after {seconds:g} s")

    def _close_with(self, status: int, reason: str) -> None:
        states: tuple[Any, ...] = (h11.IDLE, h11.SEND_RESPONSE, h11.DONE)
        # What has begun to be answered is cut off instead.
        if self.conn.our_state in states and not self.transport.is_closing():
            self.transport.write(raw_response(status, reason))
        self.transport.close()


def protocol(limits: Limits) -> type[H11Protocol]:
    """Return the protocol for `uvicorn.Config(http=...)`: uvicorn sets no such limit itself."""
    return type("Protocol", (_Timed,), {"limits": limits})
