"""One timeline for all streams of a file, also where its times begin anew.

Transport and program streams begin at any time. Recordings that were put one behind the other, as
with `cat`, begin anew in the middle. Players go on from where they are, with all streams together.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av.container
    from av.packet import Packet

_BACK = Fraction(1, 4)
"""Seconds that a stream goes back where its times begin anew; less is wear of a file."""

_LONGEST_STEP = 1
"""Seconds between two packets; more is a gap."""


class Timeline:
    """Moves the times of packets, which must all be passed to it in the order of the file.

    Attributes:
        start: Seconds that the file begins after zero.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        self._is_used = container.format.name in ("mpegts", "mpeg")
        self.start: Fraction = _start(container) if self._is_used else Fraction(0)
        self._offsets = [-self.start]
        self._last: dict[int, Fraction] = {}
        self._step: dict[int, Fraction] = {}
        self._end = Fraction(0)

    def move(self, packet: Packet[Any]) -> None:
        """Set the times of a packet to those on the timeline."""
        base, time = packet.time_base, packet.dts if packet.dts is not None else packet.pts
        if not self._is_used or time is None or not base:
            return
        shown = packet.pts if packet.pts is not None else time
        offset = self._offset(packet.stream_index, time * base, shown * base)
        self._advance(packet, time * base + offset, shown * base + offset)
        ticks = round(offset / base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks

    def _offset(self, stream: int, time: Fraction, shown: Fraction) -> Fraction:
        """The offset that leads nearest to the end so far, without a step back of the stream.

        Packets of the parts before and behind a new beginning may be mixed: each finds its own.
        """
        last = self._last.get(stream)
        found = [o for o in self._offsets if last is None or time + o >= last - _BACK]
        if not found:
            found = [self._end - shown]
            self._offsets += found
        return min(found, key=lambda offset: abs(time + offset - self._end))

    def _advance(self, packet: Packet[Any], time: Fraction, shown: Fraction) -> None:
        stream = packet.stream_index
        step = time - self._last.get(stream, time)
        if 0 < step <= _LONGEST_STEP:
            self._step[stream] = step
        self._last[stream] = time
        if packet.stream.type in ("video", "audio"):  # text stays longer than that
            duration = (packet.duration or 0) * packet.time_base or self._step.get(
                stream, Fraction(0)
            )
            self._end = max(self._end, shown + duration)


def _start(container: av.container.InputContainer) -> Fraction:
    starts = [
        s.start_time * s.time_base
        for s in container.streams
        if s.start_time is not None and s.time_base
    ]
    return min(starts, default=Fraction(0))
