"""Messages between a run and its worker processes: pickles with their length, through pipes.

Both ends are this program, with the same plugins: nothing that arrives is foreign.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = struct.Struct("<Q")


class Frames:
    """One end of a connection; several threads may send, one may receive.

    Args:
        source: What arrives.
        sink: Where messages go.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: Nobody listens any more.
            Exception: Whatever pickling raises; nothing was sent.
        """
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            if self._sink.closed:
                raise BrokenPipeError
            self._sink.write(_LENGTH.pack(len(data)) + data)
            self._sink.flush()

    def __iter__(self) -> Iterator[Any]:
        """All messages until the other end is closed."""
        while len(head := self._source.read(_LENGTH.size)) == _LENGTH.size:
            data = self._source.read(*_LENGTH.unpack(head))
            yield pickle.loads(data)  # noqa: S301 - see above

    def close(self) -> None:
        """Close the sink: the other end finds that there is nothing more to come."""
        with self._lock, contextlib.suppress(OSError):  # nobody listens any more
            self._sink.close()
