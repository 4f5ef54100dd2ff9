"""Operations: what a user asks for.

A plugin author writes one small class:

    class Grain(ImageOperation):
        name = "grain"
        task = "reconstruct"                       # the kind of model that it needs

        @dataclass(frozen=True)
        class Options:
            amount: float = option(0.5, min=0, max=2, help="posterior standard deviations")
            seed: int = 0

        def apply(self, image):                    # float32 RGB (H, W, 3) in [0, 1]
            ...

and returns it from the hook `register_operations`. Folders, resume, reports and flags follow.
"""

from __future__ import annotations

import copyreg
import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from vaetools.errors import OptionError
from vaetools.image import MAX_PIXELS, Image
from vaetools.operation.masks import Masks, places_of
from vaetools.operation.named_images import read_named_image
from vaetools.operation.options import NoOptions, make_options, option_specs, positional_option
from vaetools.seeding import seeded_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.image import ChannelOrder
    from vaetools.operation.options import OptionSpec

Item: TypeAlias = Image | bytes
"""What an operation takes or gives: an image, or the bytes of a file."""

Takes: TypeAlias = Literal["image", "file", "nothing"]
"""What an operation takes."""

Made: TypeAlias = "tuple[Callable[..., Operation], tuple[Any, ...]]"
"""A function and its arguments, the last of them the options, that make an operation in another
process."""


class Compound(ABC):
    """A result of several named parts, such as an image with posterior samples.

    The runner writes `parts` to the files that `Operation.outputs` names; Python callers get the
    object itself, with arrays in place of images.
    """

    @abstractmethod
    def parts(self) -> list[Item]:
        """Everything, in the order of `Operation.outputs`."""

    @abstractmethod
    def with_arrays(self, to_array: Callable[[Image], np.ndarray]) -> Any:
        """The same result with `to_array(image)` in place of each image."""


class Operation(ABC):
    """One kind of work on one input at a time.

    Class attributes (a chain has its own `name`, `takes` and `suffixes` in each object):
        name: the command's name, lower case with dashes; no Python keyword, as it is a method too.
        summary: one line for lists and help; by default the first line of the class docstring.
        task: the model task that it needs, or None if it works without a model. With several, the
            first one that has models.
        many_models: the model is chosen for each input among all models of the task; they are in
            `self.models`, and `self.model` is None.
        takes: `image` (the runner decodes the file), `file` (it passes the bytes), or `nothing`:
            the operation makes images or files from its options and model, named by `items`.
        suffixes: with `takes = "file"`: which files of a folder are inputs, such as `(".vae",)`.
        Options: a frozen dataclass; its fields become flags, keyword arguments and config keys.
        result_depends_on: options that turn the first type that `process` returns into the others,
            as `samples` does; for type checkers.

    Instances are shared between threads: `process` must not change `self`. An operation that a hub
    made can be pickled; it opens its model again on the other side.
    """

    name: str
    summary: ClassVar[str] = ""
    task: ClassVar[str | tuple[str, ...] | None] = None
    takes: Takes = "image"
    many_models: ClassVar[bool] = False
    suffixes: tuple[str, ...] = ()
    Options: ClassVar[type] = NoOptions
    result_depends_on: ClassVar[tuple[str, ...]] = ()

    max_pixels: int = MAX_PIXELS
    """Limit for operations that decode files themselves or make images; set by the runner."""

    channel_order: ChannelOrder = "bgr"
    """Order of the arrays that functions given as options see; set by `Step`."""

    wants_encoded: bool = False
    """With `takes = "image"`: also get the source file of each image, as `Image.encoded`, unless
    the user wants metadata stripped or accepts damaged files."""

    made_by: Made | None = None
    """How to make this operation in another process; set by the hub."""

    def __init__(self, model: Any, options: Any) -> None:
        self.model = model
        self.models: Sequence[Any] = ()
        self.options = options
        self._key = ""
        self._file: Path | None = None
        self._output_names: tuple[PurePath, ...] = ()
        self._notes: list[str] = []
        self._remarks: list[str] = []
        self._findings: dict[str, Any] = {}
        self._lost: list[str] = []

    @property
    def opened(self) -> Sequence[Any]:
        """Every model that it may use."""
        return self.models if self.model is None else (self.model,)

    @property
    def missing(self) -> list[OptionSpec]:
        """The required options that are not given."""
        specs = option_specs(type(self).Options)
        return [s for s in specs if s.required and getattr(self.options, s.name) is None]

    def check_complete(self) -> None:
        """Raise `OptionError` if a required option is missing."""
        for spec in self.missing:
            raise OptionError(f"{spec.name} is not given", remedy=spec.help or None)

    def with_options(self, **options: Any) -> Self:
        """This operation with other values for some options. Raises `OptionError`."""
        current = {f.name: getattr(self.options, f.name) for f in dataclasses.fields(self.options)}
        checked = make_options(type(self).Options, {**current, **options})
        made = type(self)(self.model, checked)
        made.models = self.models
        made.max_pixels = self.max_pixels
        if self.made_by is not None:
            make, (*first, before) = self.made_by
            given = {name: getattr(checked, name) for name in options}
            made.made_by = make, (*first, {**before, **given})
        return made

    def with_map(self, values: Any) -> Self:
        """This operation with its first option set: `hub.inpaint(image, mask)`.

        Raises:
            OptionError: the first option is not an array, or the values do not fit.
        """
        spec = positional_option(type(self).Options)
        if spec is None:
            raise OptionError(
                f"{self.name} takes one positional argument", remedy="pass options by name"
            )
        return self.with_options(**{spec.name: values})

    def limited(self, max_pixels: int) -> Self:
        """A copy with another limit of pixels."""
        copied = self.__copy__()
        copied.max_pixels = max_pixels
        return copied

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """Names of the files that `source` gives, relative as it is. Called before any work."""
        return (source,)

    def items(self) -> Sequence[PurePath]:
        """With `takes = "nothing"`: the items that it makes, by the names of their files.

        The name of an item is what `outputs` and `process` are given and what seeds `rng`: an item
        stays the same when others are added. Called before any work: what it raises ends the run.
        """
        return ()

    def facts(self) -> dict[str, Any]:
        """What decides the result of one input, apart from the model; other facts are other work.

        By default all options; arrays, and the one file that an option for an array names, by their
        hash. Leave out what changes no single result, such as the number of items, and what
        `files_of` names; put the content of any other file in place of its name. Values are for JSON.
        """
        values = {s.name: getattr(self.options, s.name) for s in option_specs(type(self).Options)}
        places = places_of(self.options)
        return {name: _fact(name, places.get(name, value)) for name, value in values.items()}

    def files_of(self, key: str, source: Path | None = None) -> Sequence[Path]:
        """Further files that decide the result of one input, such as its mask.

        By default what options for arrays find by the name of the input: in a folder, or by a
        pattern. A run processes an input again when one of its files is changed, added or removed.

        Args:
            key: name of the input.
            source: its file; None for an item that the operation makes.

        Raises:
            OptionError: a pattern, for an input without a file.
        """
        places = [masks for masks in places_of(self.options).values() if masks.is_per_image]
        return [file for masks in places for file in masks.candidates(key, source)]

    def _places(self) -> dict[str, Masks]:
        return places_of(self.options)

    def identity(self) -> dict[str, Any]:
        """What decides all its results: the operation, its `facts` and its model. For JSON."""
        return {
            "operation": f"{type(self).__module__}.{self.name}",
            "options": self.facts(),
            "model": None if self.model is None else self.model.manifest.fingerprint,
        }

    def read_image(
        self, path: str | Path, *, keep_encoded: bool = False, first_frame: bool = False
    ) -> Image:
        """Read a further image that an option names, within the limits of the run.

        Args:
            keep_encoded: keep the file's bytes in `Image.encoded`.
            first_frame: read the first frame or page of a file with several, instead of refusing it.

        Raises:
            InputError: it cannot be read or is not an image that vaetools reads.
        """
        return read_named_image(
            path, max_pixels=self.max_pixels, keep_encoded=keep_encoded, first_frame=first_frame
        )

    def read_mask(self, masks: Masks, image: Image) -> np.ndarray:
        """The mask of `image`, (H, W) float32 in [0, 1]; see `Masks.read`."""
        return masks.read(self.key, image, **self._mask_source)

    def read_hole(
        self, masks: Masks, image: Image, colour: Literal["white", "black"] = "white"
    ) -> np.ndarray:
        """The pixels of `image` where its mask is white (or black), (H, W) bool; see
        `Masks.read_hole`."""
        return masks.read_hole(self.key, image, colour, **self._mask_source)

    @property
    def _mask_source(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "max_pixels": self.max_pixels,
            "channel_order": self.channel_order,
        }

    def check_head(self, head: bytes) -> None:  # noqa: B027 - most operations take any file
        """With `takes = "file"`: raise if a file that begins like this is not an input.

        The rest is then never read. `head` has `vaetools.image.HEAD_SIZE` bytes, fewer for short files.
        """

    @abstractmethod
    def process(self, item: Any) -> Item | Sequence[Item] | Compound:
        """The work: from an `Image`, the bytes of a file, or the name of an item to make, to as many
        results as `outputs` names."""

    def on(self, key: str, source: Path | None = None, names: Sequence[PurePath] = ()) -> Self:
        """This operation for one input.

        Args:
            key: name of the input, which seeds `rng`.
            source: its file.
            names: of its outputs, where they are not those of `outputs`.
        """
        bound = self.__copy__()
        state = {"_key": key, "_file": source, "_output_names": tuple(names)}
        bound.__dict__.update(**state, _notes=[], _remarks=[], _findings={}, _lost=[])
        bound.__dict__.pop("_rng", None)
        return bound

    @property
    def key(self) -> str:
        """Name of the input: its path in the run, or what the caller passed; may be empty."""
        return self._key

    @property
    def source(self) -> Path | None:
        """The file of the input, for what lies next to it; None for arrays."""
        return self._file

    @property
    def output_names(self) -> Sequence[PurePath]:
        """The names of its outputs for this input: with the suffixes that a run gives them."""
        return self._output_names or self.outputs(PurePosixPath(self._key))

    def note(self, text: str) -> None:
        """Add a remark about this input to its record, and print it; not an error."""
        self._notes.append(text)
        self._remarks.append(text)

    def finding(self, text: str = "", **values: Any) -> None:
        """Add what was found out about this input to its record, without printing it.

        Args:
            text: in words, for people.
            values: for programs; what JSON can hold. A later value replaces one of the same name.
        """
        if text:
            self._remarks.append(text)
        self._findings.update(values)

    def lose(self, *what: str) -> None:
        """Add to the record what of the input is in no output, such as `gain map`."""
        self._lost += what

    @property
    def lost(self) -> Sequence[str]:
        """What of the input is in no output, as the operation says it."""
        return tuple(self._lost)

    @property
    def notes(self) -> Sequence[str]:
        """Remarks about this input that are printed."""
        return tuple(self._notes)

    @property
    def remarks(self) -> Sequence[str]:
        """All remarks about this input: notes, and findings in words."""
        return tuple(self._remarks)

    @property
    def findings(self) -> dict[str, Any]:
        """What was found out about this input, by name."""
        return dict(self._findings)

    @property
    def fixed_formats(self) -> Sequence[str]:
        """Globs of outputs that keep their format when the user asks for another with `--to`."""
        return ()

    @property
    def never(self) -> Sequence[str]:
        """Globs of files in a folder that are never inputs, although their suffix fits.

        By default the masks that options for arrays find next to the images by a pattern.
        """
        return [masks.glob for masks in places_of(self.options).values() if masks.glob]

    @property
    def apart(self) -> Sequence[Path]:
        """Files and folders inside a folder of inputs that are no inputs: masks, by default."""
        return [masks.path for masks in places_of(self.options).values() if not masks.is_pattern]

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend only on the option `seed` and on the input's key.

        The result of one input is the same in any order, with any number of workers.
        """
        if "_rng" not in self.__dict__:
            self._rng = seeded_generator(getattr(self.options, "seed", 0), self._key)
        return self._rng

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __reduce__(self) -> Any:
        if self.made_by is None:
            return copyreg.__newobj__, (type(self),), self.__dict__  # type: ignore[attr-defined]
        make, arguments = self.made_by
        kept = ("max_pixels", "channel_order")
        state = {name: self.__dict__[name] for name in kept if name in self.__dict__}
        return make, arguments, state

    def __repr__(self) -> str:
        named = [f"model={self.model.id!r}"] if self.model is not None else []
        for spec in option_specs(type(self).Options):
            value = getattr(self.options, spec.name)
            if not spec.is_default(value):
                named.append(f"{spec.name}={_short(value)}")
        return f"<{self.name}{': ' if named else ''}{', '.join(named)}>"


def summary_of(operation: type[Operation]) -> str:
    """The operation's one-line summary."""
    return operation.summary or (operation.__doc__ or operation.name).strip().splitlines()[0]


def _fact(name: str, value: Any) -> Any:
    """An option's value for JSON; arrays, and places of files, by their fingerprint."""
    if isinstance(value, np.ndarray) or callable(value):
        value = Masks(value, name=name, white=1)
    return value.fingerprint if isinstance(value, Masks) else value


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{'×'.join(map(str, value.shape))} {value.dtype}>"
    return repr(str(value)) if isinstance(value, Path) else repr(value)
