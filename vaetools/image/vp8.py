"""The quality of a lossy WebP file, from the quantisers in its VP8 header (RFC 6386, section 9)."""

from __future__ import annotations

_QUANTISERS = 127


class _Flags:
    """Reads bits that are arithmetically coded with even odds (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 2
        self.value = int.from_bytes(data[:2], "big")
        self.range = 255
        self.shifts = 0

    def bit(self) -> int:
        split = 1 + ((self.range - 1) * 128 >> 8)
        found = self.value >= split << 8
        if found:
            self.range -= split
            self.value -= split << 8
        else:
            self.range = split
        while self.range < 128:
            self.value <<= 1
            self.range <<= 1
            self.shifts += 1
            if self.shifts == 8:
                self.shifts = 0
                self.value |= self.data[self.at]
                self.at += 1
        return int(found)

    def number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | self.bit()
        return value

    def signed(self, bits: int) -> int:
        """An optional signed number; 0 without."""
        if not self.bit():
            return 0
        value = self.number(bits)
        return -value if self.bit() else value


def quality_of(frame: bytes) -> int | None:
    """About the quality, 0 … 100, with which libwebp makes these quantisers.

    Args:
        frame: content of the chunk `VP8 `.

    Returns:
        None if it is no key frame.
    """
    if len(frame) < 20 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    try:
        levels = _levels(_Flags(frame[10:]))
    except IndexError:
        return None
    level = min(max(sum(levels) / len(levels), 0), _QUANTISERS)
    linear = (1 - level / _QUANTISERS) ** 3  # libwebp's QualityToCompression, backwards
    return round(100 * (1.5 * linear if linear < 0.5 else (linear + 1) / 2))


def _levels(flags: _Flags) -> list[int]:
    """The quantiser of each segment, 0 … 127."""
    flags.number(2)  # colour space, clamping
    segments, absolute = [0], False
    if flags.bit():
        has_map, has_data = flags.bit(), flags.bit()
        if has_data:
            absolute = bool(flags.bit())
            segments = [flags.signed(7) for _ in range(4)]
            for _ in range(4):
                flags.signed(6)
        if has_map:
            for _ in range(3):
                if flags.bit():
                    flags.number(8)
    flags.number(10)  # loop filter
    if flags.bit() and flags.bit():
        for _ in range(8):
            flags.signed(6)
    flags.number(2)  # partitions
    base = flags.number(7)
    return segments if absolute else [base + segment for segment in segments]
