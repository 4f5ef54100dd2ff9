"""Operations: what a user asks for, with options that become flags, keywords and config keys."""

from vaetools.operation.base import (
    RESERVED_OPERATIONS,
    RESERVED_OPTIONS,
    ImageOperation,
    Item,
    NoOptions,
    Operation,
    OptionSpec,
    make_options,
    option,
    option_specs,
    results_of,
    summary_of,
)

__all__ = [
    "RESERVED_OPERATIONS",
    "RESERVED_OPTIONS",
    "ImageOperation",
    "Item",
    "NoOptions",
    "Operation",
    "OptionSpec",
    "make_options",
    "option",
    "option_specs",
    "results_of",
    "summary_of",
]
