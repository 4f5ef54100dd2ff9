"""All errors that vaetools raises on purpose; each says what is wrong, where, and what to do.

`InputError`, `BitstreamError`, `ModelError` and `UsageError` are bases of more specific errors. The
docstring of a class gives its meaning, usual causes and a remedy: `vaetools explain` prints them, and
docs/errors.md is made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from vaetools.text import did_you_mean as did_you_mean  # noqa: PLC0414 - imported from here
from vaetools.text import printable as printable  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXIT_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_MATCHED = 3
EXIT_ENVIRONMENT = 4
EXIT_INCOMPLETE = 5
EXIT_INTERRUPTED = 130


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
        place = f"{printable(self.file)}: " if self.file else ""
        remedy = "" if self.remedy is None else f"; {self.remedy}"
        return f"{place}{self.problem}{remedy}"

    @property
    def line(self) -> str:
        """The error as one line: `E013 photos/big.png: 900 megapixels is over …; raise it with …`."""
        return f"{self.code} {printable(' '.join(str(self).split()))}"

    def about(self, file: str | Path) -> VaetoolsError:
        """Name the file, if the error does not name one yet; returns the error itself."""
        if self.file is None:
            self.file = str(file)
        return self


class InputError(VaetoolsError):
    """An input file or array cannot be used.

    Causes: no more specific error applies, such as a mask that covers the whole image, or a target
    rate that the image cannot reach.
    Remedy: the message names the input and the reason; fix or leave out the input.
    """

    code = "E001"


class NotAnImageError(InputError):
    """The content of a file is not an image format that vaetools reads.

    Causes: a file of another kind with the suffix of an image; a format that is not supported.
    Remedy: convert the file, or leave it out with `--exclude`.
    """

    code = "E010"


class EmptyFileError(InputError):
    """A file has no bytes.

    Causes: an interrupted copy or download.
    Remedy: get the file again.
    """

    code = "E011"


class DamagedImageError(InputError):
    """An image file is truncated or fails a checksum.

    Causes: an interrupted copy or download; a failing disk; a video or a stream of raw frames that
    ends too early.
    Remedy: get the file again, or decode the intact part with `--lenient`.
    """

    code = "E012"


class TooLargeError(InputError):
    """An image has more pixels, or a file more bytes, than the limit.

    Causes: a very large photograph or scan; a small file that claims a huge size.
    Remedy: if you trust the file, raise the limit with `--max-pixels` (`max_pixels` in Python).
    """

    code = "E013"


class UnsupportedImageError(InputError):
    """An image has a feature that vaetools does not handle.

    Causes: animations and multi-page files; unusual bit depths, colour modes or metadata sizes.
    Remedy: convert the file; for animations and pages, use `--frames first`.
    """

    code = "E014"


class UnreadableError(InputError):
    """A file, folder or camera cannot be read.

    Causes: missing permission; a folder in place of a file; a file that vanished during the run.
    Remedy: check the path and its permissions.
    """

    code = "E015"


class ImageValueError(InputError, ValueError):
    """An array is not an image.

    Causes: another dtype than uint8, uint16 or float32; another shape than (H, W), (H, W, 3) or
    (H, W, 4); NaN; floats outside [0, 1].
    Remedy: convert the array; floats are never rescaled.
    """

    code = "E016"


class OutputError(VaetoolsError):
    """An output cannot be written.

    Causes: a full disk; a read-only or missing folder; missing permission.
    Remedy: free space or choose another folder with `-o`; the same command resumes the run.
    """

    code = "E070"


class BitstreamError(VaetoolsError):
    """A `.vae` file cannot be decoded; base of the errors E030 to E034."""

    code = "E030"


class NotAVaeFileError(BitstreamError):
    """A file does not begin like a `.vae` file.

    Causes: a file of another kind with the suffix `.vae`.
    Remedy: decompress only files that `vaetools compress` wrote.
    """

    code = "E030"


class VersionError(BitstreamError):
    """A `.vae` file has a format version or a section that this version does not know.

    Causes: the file was written by a newer version of vaetools.
    Remedy: update vaetools.
    """

    code = "E031"


class ChecksumError(BitstreamError):
    """A `.vae` file is damaged or cut short.

    Causes: an interrupted copy or download; a failing disk.
    Remedy: get the file again, or decode what is left with `decompress --preview`.
    """

    code = "E032"


class UnknownModelError(BitstreamError):
    """A `.vae` file was written with a model that is not installed.

    Causes: the model lies in another folder, or has another version.
    Remedy: install that version of the model, or name its folder with `--models-dir`.
    """

    code = "E033"


class HeaderLimitError(BitstreamError):
    """The header of a `.vae` file exceeds a limit or contradicts itself.

    Causes: more pixels than the limit; a file that was made to do harm.
    Remedy: if you trust the file, raise the limit with `--max-pixels`.
    """

    code = "E034"


class ModelError(VaetoolsError):
    """A model cannot be used; base of the errors E040 to E044."""

    code = "E040"
    exit_code = EXIT_ENVIRONMENT


class ModelNotFoundError(ModelError):
    """No installed model fits, or several do and none was chosen.

    Causes: a misspelt id; models in a folder that is not searched.
    Remedy: see `vaetools models list`; choose with `--model`, add a folder with `--models-dir`.
    """

    code = "E040"


class ManifestError(ModelError):
    """The `model.toml` of a model is missing or not valid.

    Causes: a misspelt key; a value out of bounds; a manifest for a newer version of vaetools.
    Remedy: fix the key that the message names, or export the model again.
    """

    code = "E041"


class ModelAlteredError(ModelError):
    """A file of a model differs from its manifest in size or SHA-256.

    Causes: an incomplete copy; an edited or replaced graph.
    Remedy: copy or export the model again; never edit the hashes of a model that you did not make.
    """

    code = "E042"


class DuplicateModelError(ModelError):
    """Two folders hold a model of the same id.

    Causes: a copy of a model in a second folder of the search path.
    Remedy: remove one of the two folders, or change one id.
    """

    code = "E043"


class ModelBrokenError(ModelError):
    """A graph or weight file is refused, does not load, or gives wrong results.

    Causes: an operator that is not allowed; pickled weights; an export that lost accuracy.
    Remedy: export the model again; `vaetools models verify` runs its self-test.
    """

    code = "E044"


class PluginError(VaetoolsError):
    """A plugin cannot be loaded, or an operation of it failed.

    Causes: an exception at import; a missing dependency; a name that is taken; a result that is not
    an image or bytes.
    Remedy: `vaetools plugins check` finds the cause; update or remove the plugin.
    """

    code = "E050"


class DeviceError(VaetoolsError):
    """The device that was asked for is not available.

    Causes: no such hardware; an old driver; missing or clashing packages; no Ray cluster there.
    Remedy: `vaetools doctor` shows the cause; use `--device cpu` or `--device auto`.
    """

    code = "E060"
    exit_code = EXIT_ENVIRONMENT


class LibraryError(VaetoolsError):
    """A library that vaetools needs cannot be imported, or was built without what it needs.

    Causes: OpenCV without libGL; packages that overwrite each other; Pillow without a codec.
    Remedy: run the command in the message; `vaetools doctor` checks all libraries.
    """

    code = "E061"
    exit_code = EXIT_ENVIRONMENT


class Failure(Protocol):
    """The record of an input that failed; `vaetools.Record` is one."""

    @property
    def file(self) -> str:
        """Path of the input."""

    @property
    def code(self) -> str:
        """Code of the error."""

    @property
    def message(self) -> str:
        """The error as one line."""


class RunError(VaetoolsError):
    """Inputs of a run failed, or the run stopped early; see `RunResult.raise_for_failures`.

    Causes: bad input files; a full disk; Ctrl-C.
    Remedy: `failures` has the records of the inputs that failed; fix these and run it again.
    """

    code = "E090"

    def __init__(self, problem: str, *, failures: Sequence[Failure] = ()) -> None:
        super().__init__(problem)
        self.failures: list[Failure] = list(failures)


class UnexpectedError(VaetoolsError):
    """An exception that nobody expected: a defect of vaetools or of a plugin.

    Causes: a bug; a library that crashes a worker process; too little memory.
    Remedy: report it with the output of `--debug`.
    """

    code = "E099"


UNEXPECTED = UnexpectedError.code


class UsageError(VaetoolsError):
    """The options or arguments of a command or call are wrong; nothing was done.

    Causes: a misspelt name; options that exclude each other or have no effect.
    Remedy: see the `--help` of the command.
    """

    code = "E002"
    exit_code = EXIT_USAGE


class OptionError(UsageError, ValueError):
    """An option has an unknown name or a value that does not fit.

    Causes: a misspelt option; a number out of bounds; a value of the wrong type.
    Remedy: the message lists the known options or the bounds.
    """

    code = "E004"


class ClashError(UsageError):
    """Two inputs would be written to the same output, or an output to an input.

    Causes: `a.png` and `a.jpg` in one folder; an output folder that holds the inputs.
    Remedy: rename one input, use `--to same`, or choose another output folder.
    """

    code = "E080"


class ExistsError(UsageError):
    """An output exists and is not from an earlier run.

    Causes: an output folder with other files in it.
    Remedy: choose another folder, or use `--on-exists skip` or `--on-exists replace`.
    """

    code = "E081"


class NothingMatchedError(UsageError):
    """No input matched.

    Causes: an empty folder; `--include` and `--exclude` that leave nothing.
    Remedy: check the inputs and the globs.
    """

    code = "E003"
    exit_code = EXIT_NOTHING_MATCHED
