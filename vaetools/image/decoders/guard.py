"""Whatever a decoder raises becomes one of our errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaetools.errors import (
    DamagedImageError,
    InputError,
    TooLargeError,
    UnsupportedImageError,
)
from vaetools.libraries import check_codec, library_error

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def decoding(format_name: str, otherwise: type[InputError] = DamagedImageError) -> Iterator[None]:
    """Decoders raise almost anything on hostile bytes: pass our errors on, and replace the others.

    Args:
        format_name: for the message.
        otherwise: the error that replaces an exception of a decoder.
    """
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (InputError, MemoryError):
        raise
    except DecompressionBombError as error:  # WebP only; Pillow checks it in its own way
        raise TooLargeError(f"refused by Pillow: {error}") from error
    except Exception as error:
        if library_error(error) is not None:
            raise
        check_codec(format_name)
        problem = f"the {format_name} data is corrupt or truncated"
        if otherwise is UnsupportedImageError:
            problem = f"a kind of {format_name} file that is not supported ({error})"
        raise otherwise(problem) from error
