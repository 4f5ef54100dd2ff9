"""Everything that can go wrong, as one tree; each error says what, where and what to do about it.

    VaetoolsError
    ├── InputError            an input file or array                                  exit 1
    │   ├── NotAnImageError       E010  unknown content
    │   ├── EmptyFileError        E011  no bytes
    │   ├── DamagedImageError     E012  truncated, broken checksum
    │   ├── TooLargeError         E013  more pixels than the limit
    │   ├── UnsupportedImageError E014  frames, mode or depth that we do not handle
    │   ├── UnreadableError       E015  permission, directory, vanished
    │   └── ImageValueError       E016  NaN, out of range, wrong dtype or shape
    ├── OutputError           E070  disk full, read-only, not permitted               exit 1
    ├── BitstreamError        a .vae file                                             exit 1
    │   ├── NotAVaeFileError      E030  no magic
    │   ├── VersionError          E031  a format version or section that we do not know
    │   ├── ChecksumError         E032  damaged or cut short
    │   ├── UnknownModelError     E033  written with a model that is not here
    │   └── HeaderLimitError      E034  a header that asks for too much, or contradicts itself
    ├── ModelError            a model folder                                          exit 4
    │   ├── ModelNotFoundError    E040  no model of that id or task
    │   ├── ManifestError         E041  model.toml is not valid
    │   ├── ModelAlteredError     E042  a graph's sha256 or size is not the manifest's
    │   ├── DuplicateModelError   E043  two folders claim one id
    │   └── ModelBrokenError      E044  a graph that does not load, or gives wrong results
    ├── PluginError           E050  a plugin that cannot be loaded, or that failed    exit 1
    ├── DeviceError           E060  a device that was asked for and is not there      exit 4
    └── UsageError            E002  options or arguments                              exit 2
        ├── ClashError            E080  two inputs would give one output
        ├── ExistsError           E081  the output is there already
        ├── NothingMatchedError   E003  no input matched                              exit 3
        └── OptionError           E004  an option's value is out of bounds

`InputError` itself (E001) covers what has no code of its own; an exception that is none of these
is reported as E099, a defect of ours or of a plugin.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXIT_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_MATCHED = 3
EXIT_ENVIRONMENT = 4
EXIT_INTERRUPTED = 130

UNEXPECTED = "E099"


class VaetoolsError(Exception):
    """Base of all errors that vaetools raises on purpose.

    Args:
        problem: what is wrong, with the value that is.
        file: the file, folder or other place that it is about.
        remedy: what the reader can do about it.

    Attributes:
        code: stable, `E0xx`; scripts may rely on it.
        exit_code: what a command that stops because of this error exits with.
    """

    code: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = EXIT_SOME_FAILED

    def __init__(
        self, problem: str, *, file: str | Path | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.file = None if file is None else str(file)
        self.remedy = remedy

    def __str__(self) -> str:
        place = "" if self.file is None else f"{printable(self.file)}: "
        remedy = "" if self.remedy is None else f"; {self.remedy}"
        return f"{place}{self.problem}{remedy}"

    @property
    def line(self) -> str:
        """The error as one line: `E013 photos/big.png: 900 megapixels is over …; raise it with …`."""
        return f"{self.code} {' '.join(str(self).split())}"

    def about(self, file: str | Path) -> VaetoolsError:
        """Name the file, if the error does not name one yet; returns the error itself."""
        if self.file is None:
            self.file = str(file)
        return self


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that it stays on one line."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A remedy for a misspelt name, `did you mean 'compress'?`; None if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.7)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


class InputError(VaetoolsError):
    code = "E001"


class NotAnImageError(InputError):
    code = "E010"


class EmptyFileError(InputError):
    code = "E011"


class DamagedImageError(InputError):
    code = "E012"


class TooLargeError(InputError):
    code = "E013"


class UnsupportedImageError(InputError):
    code = "E014"


class UnreadableError(InputError):
    code = "E015"


class ImageValueError(InputError, ValueError):
    code = "E016"


class OutputError(VaetoolsError):
    code = "E070"


class BitstreamError(VaetoolsError):
    code = "E030"


class NotAVaeFileError(BitstreamError):
    code = "E030"


class VersionError(BitstreamError):
    code = "E031"


class ChecksumError(BitstreamError):
    code = "E032"


class UnknownModelError(BitstreamError):
    code = "E033"


class HeaderLimitError(BitstreamError):
    code = "E034"


class ModelError(VaetoolsError):
    code = "E040"
    exit_code = EXIT_ENVIRONMENT


class ModelNotFoundError(ModelError):
    code = "E040"


class ManifestError(ModelError):
    code = "E041"


class ModelAlteredError(ModelError):
    code = "E042"


class DuplicateModelError(ModelError):
    code = "E043"


class ModelBrokenError(ModelError):
    code = "E044"


class PluginError(VaetoolsError):
    code = "E050"


class DeviceError(VaetoolsError):
    code = "E060"
    exit_code = EXIT_ENVIRONMENT


class UsageError(VaetoolsError):
    code = "E002"
    exit_code = EXIT_USAGE


class OptionError(UsageError, ValueError):
    code = "E004"


class ClashError(UsageError):
    code = "E080"


class ExistsError(UsageError):
    code = "E081"


class NothingMatchedError(UsageError):
    code = "E003"
    exit_code = EXIT_NOTHING_MATCHED
