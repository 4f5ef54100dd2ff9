"""Entropy coding: integers <-> bytes, with tables of integer frequencies.

The coder is the ANS coder of the `constriction` package, with 32-bit words and a 64-bit state. Its
precision is 24 bits and our frequencies sum to 2^24, so no probability is ever rounded and the stream
is defined by integers alone (`docs/format.md`).

Symbols are coded grouped by table, not by position: all latents of table 0 in raster order, then
those of table 1, and so on. The decoder knows all table indices in advance, so one call decodes a
whole group.

Reference: Duda, "Asymmetric numeral systems", 2013, arXiv:1311.2540; Bamler, "Understanding
entropy coding with asymmetric numeral systems", 2022, arXiv:2201.01741.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ChecksumError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRECISION = 24
TOTAL = 2**PRECISION
TAIL = 6.0
"""Half-width of a Gaussian table in standard deviations; values outside are escaped."""

WORD = np.dtype("<u4")


@dataclass(frozen=True)
class Table:
    """Frequencies of the symbols −reach … reach, and optionally of an escape symbol.

    Attributes:
        frequencies: (2 reach + 1,) or, with escape, (2 reach + 2,) int64, all ≥ 1, with sum 2^24.
        reach: largest magnitude that is coded without the escape.
    """

    frequencies: np.ndarray
    reach: int

    @functools.cached_property
    def model(self) -> Any:
        """The table for `constriction`; `perfect` keeps multiples of 2^−24 exact."""
        import constriction  # here, because training needs tables but codes nothing

        return constriction.stream.model.Categorical(self.frequencies / TOTAL, perfect=True)

    @functools.cached_property
    def bits(self) -> np.ndarray:
        """Ideal code length of every symbol in bits."""
        bits: np.ndarray = PRECISION - np.log2(self.frequencies)
        return bits

    @property
    def has_escape(self) -> bool:
        return len(self.frequencies) == 2 * self.reach + 2


def frequencies_of(probabilities: np.ndarray) -> np.ndarray:
    """Integers ≥ 1 that sum to 2^24, in proportion to `probabilities`; used to build tables."""
    scaled: np.ndarray = np.maximum(
        1, np.round(probabilities / probabilities.sum() * TOTAL)
    ).astype(np.int64)
    scaled[np.argmax(scaled)] += TOTAL - scaled.sum()
    return scaled


def gaussian_table(scale: float) -> Table:
    """Table with escape for a rounded zero-mean Gaussian of standard deviation `scale`."""
    reach = math.ceil(TAIL * scale)
    edges = np.arange(-reach, reach + 2) - 0.5
    below = np.array([0.5 * (1 + math.erf(e / scale / math.sqrt(2))) for e in edges])
    inside = np.diff(below)
    return Table(frequencies_of(np.append(inside, max(0.0, 1 - inside.sum()))), reach)


class Encoder:
    """Collects groups of symbols. `finish` codes the last group first, because ANS is a stack."""

    def __init__(self) -> None:
        self._groups: list[tuple[np.ndarray, Table]] = []
        self._escaped = bytearray()

    def put(self, values: np.ndarray, table: Table) -> None:
        """Add integers that share a table.

        Args:
            values: (count,) integers of magnitude < 2^31; within the reach of a table without escape.
            table: their table.
        """
        last = 2 * table.reach
        symbols = np.add(values, np.int32(table.reach), dtype=np.int32)
        unsigned = symbols.view(np.uint32)  # what lies below the reach wraps around to large values
        if unsigned.max(initial=0) > last:
            outside = unsigned > last
            self._escaped += b"".join(_varint(_zigzag(int(v))) for v in values[outside])
            symbols[outside] = last + 1
        self._groups.append((symbols, table))

    @property
    def bits(self) -> float:
        """Ideal code length of all symbols so far in bits, including escaped values.

        Computed on each call.
        """
        coded = sum(float(table.bits[symbols].sum()) for symbols, table in self._groups)
        return coded + 8 * len(self._escaped)

    def finish(self) -> bytes:
        """The payload: number of escape bytes as a varint, the escape bytes, the ANS words."""
        import constriction

        coder = constriction.stream.stack.AnsCoder()
        for symbols, table in reversed(self._groups):
            coder.encode_reverse(symbols, table.model)
        words: bytes = coder.get_compressed().astype(WORD).tobytes()
        return _varint(len(self._escaped)) + bytes(self._escaped) + words


class Decoder:
    """Reads the groups of a payload in the order in which they were written.

    Raises:
        ChecksumError: from any method, if the payload does not match the tables.
    """

    def __init__(self, payload: bytes) -> None:
        import constriction

        length, at = _read_varint(payload, 0)
        if at + length > len(payload) or (len(payload) - at - length) % WORD.itemsize:
            raise ChecksumError("a payload has an invalid length")
        self._escaped = _varints(payload[at : at + length])
        words = np.frombuffer(payload, WORD, offset=at + length).astype(np.uint32)
        try:
            self._coder = constriction.stream.stack.AnsCoder(words)
        except ValueError:
            raise ChecksumError("a payload ends in a zero word") from None

    def get(self, count: int, table: Table) -> np.ndarray:
        """Decode the next `count` integers, (count,) int32."""
        values: np.ndarray = self._coder.decode(table.model, count)
        values -= table.reach
        if values.max(initial=0) > table.reach:  # the escape symbol
            for place in np.flatnonzero(values > table.reach):
                values[place] = self._next_escaped(table)
        return values

    def _next_escaped(self, table: Table) -> int:
        value = next(self._escaped, None)
        if value is None or not table.reach < abs(value) < 2**31:
            raise ChecksumError("an escaped value is missing or could have been coded directly")
        return value

    def finish(self) -> None:
        """Check that all symbols were consumed: the last guard against mismatched tables."""
        if not self._coder.is_empty() or next(self._escaped, None) is not None:
            raise ChecksumError("the symbols do not match the tables of this model")


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(code: int) -> int:
    return code // 2 if code % 2 == 0 else -(code // 2) - 1


def _varint(value: int) -> bytes:
    """LEB128: seven bits per byte, lowest first; the high bit is set in all but the last byte."""
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset after it); at most five bytes."""
    value = 0
    for shift in range(5):
        if at + shift >= len(data):
            break
        byte = data[at + shift]
        value += (byte % 128) << (7 * shift)
        if byte < 128:
            return value, at + shift + 1
    raise ChecksumError("a number in a payload is truncated")


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        code, at = _read_varint(data, at)
        yield _unzigzag(code)
