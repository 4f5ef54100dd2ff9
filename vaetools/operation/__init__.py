"""Operations: what a user asks for, with options that become flags, keywords and config keys."""

from vaetools.operation.base import (
    Compound,
    Item,
    Operation,
    summary_of,
)
from vaetools.operation.image_operation import ImageOperation
from vaetools.operation.options import (
    NoOptions,
    OptionSpec,
    make_options,
    option,
    option_specs,
    positional_option,
)
from vaetools.operation.reserved import (
    RESERVED_OPERATIONS,
    RESERVED_OPTIONS,
    RESERVED_SHORT_FLAGS,
    is_operation_name,
)
from vaetools.operation.results import output_names, outputs_of, results_of

__all__ = [
    "RESERVED_OPERATIONS",
    "RESERVED_OPTIONS",
    "RESERVED_SHORT_FLAGS",
    "Compound",
    "ImageOperation",
    "Item",
    "NoOptions",
    "Operation",
    "OptionSpec",
    "is_operation_name",
    "make_options",
    "option",
    "option_specs",
    "output_names",
    "outputs_of",
    "positional_option",
    "results_of",
    "summary_of",
]
