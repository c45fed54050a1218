"""Where lines of the log go, and the line of a request.

Every request has a line, so it does not take the way through structlog's processors, which
costs more than the request's signature. Its fields are fixed by the code here, as `observe.EVENTS`
has them; what others log passes the filter there.
"""

from __future__ import annotations

import json.encoder
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from strongroom.server import observe

_quoted = json.encoder.encode_basestring
"""JSON's form of a string, with characters outside ASCII as they are."""
_MICROSECONDS: Final = 1_000_000


class Sink:
    """A stream that takes whole lines from any thread; structlog's logger."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        """Write one line, and see that it leaves."""
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    # structlog calls a logger by the level of the event.
    debug = info = warning = error = critical = msg


class Requests:
    """Writes the line of each request as JSON.

    Args:
        sink: takes the lines.
        worker: number of the process, if there are several.
    """

    def __init__(self, sink: Sink, *, worker: int | None = None) -> None:
        self._sink = sink
        self._worker = "" if worker is None else f'"worker":{worker},'
        self._second = 0
        self._shown = ""

    def write(self, exchange: observe.Exchange, duration_s: float) -> None:
        """Write the line of a request that has ended; what is empty is left out."""
        said = exchange
        operation = f',"operation":{_quoted(said.operation)}' if said.operation else ""
        bucket = f',"bucket":{_quoted(said.bucket)}' if said.bucket else ""
        key = f',"key":{_quoted(said.key)}' if said.key else ""
        code = f',"code":{_quoted(said.code)}' if said.code else ""
        access_key = f',"access_key":{_quoted(said.access_key)}' if said.access_key else ""
        outcome = "" if said.outcome == "answered" else f',"outcome":{_quoted(said.outcome)}'
        self._sink.msg(
            f'{{{self._worker}"request_id":{_quoted(said.request_id)}'
            f',"method":{_quoted(said.method)}{operation}{bucket}{key}'
            f',"status":{said.status}{code}'
            f',"bytes_in":{said.bytes_in},"bytes_out":{said.bytes_out}'
            f',"duration_ms":{round(duration_s * 1000, 2)},"peer":{_quoted(said.peer)}'
            f"{access_key}{outcome}"
            f',"event":"request","level":"info","timestamp":"{self._now()}"}}'
        )

    def _now(self) -> str:
        micros = time.time_ns() // 1000
        second = micros // _MICROSECONDS
        if second != self._second:
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._shown}.{micros % _MICROSECONDS:06d}Z"
