"""The operators that a model may use, and their properties.

Allowed are operators of the ONNX standard that are deterministic, compute with numbers, and whose output
sizes follow from input sizes and constants. They cover what exporters emit for convolutions, dense and
recurrent layers, attention, resampling, normalisation, vector quantisation and 8-bit (QDQ) models.
Excluded on purpose:

- `Loop`, `If`, `Scan`, `SequenceMap`: they contain subgraphs, and may run forever;
- `Random*`, `Bernoulli`, `Multinomial`, `Dropout`: not deterministic; noise is an input of a graph;
- `NonZero`, `Compress`, `Unique`, `NonMaxSuppression`: output sizes depend on the values of the image;
- sequences, optionals, strings, `ImageDecoder`: networks do not need them;
- windows and Fourier transforms: for audio; they can be added when a model needs them.
"""

from __future__ import annotations

MAX_ELEMENTS = 2**28
"""Elements of one tensor: 1 GiB of float32."""

_ARITHMETIC = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
Cast CastLike Ceil Clip Cos Cosh CumProd CumSum Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf
IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sinh Sqrt
Sub Sum Tan Where Xor
"""
_ACTIVATIONS = """
Celu Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu Shrink Sigmoid
Softmax Softplus Softsign Swish Tanh ThresholdedRelu
"""
_REDUCTIONS = """
ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare TopK
"""
_LAYERS = """
Attention AveragePool Conv ConvInteger ConvTranspose Einsum GRU Gemm GlobalAveragePool GlobalLpPool
GlobalMaxPool LRN LSTM LpPool MatMul MatMulInteger MaxPool QLinearConv QLinearMatMul RNN
RotaryEmbedding
"""
_NORMALISATIONS = """
BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization
MeanVarianceNormalization RMSNormalization
"""
_QUANTISATION = """
DequantizeLinear DynamicQuantizeLinear QuantizeLinear
"""
_LAYOUT = """
AffineGrid Col2Im Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather
GatherElements GatherND GridSample Identity OneHot Pad Range Reshape Resize ReverseSequence
ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
Upsample
"""

ALLOWED: frozenset[str] = frozenset[str]().union(
    _ARITHMETIC.split(),
    _ACTIVATIONS.split(),
    _REDUCTIONS.split(),
    _LAYERS.split(),
    _NORMALISATIONS.split(),
    _QUANTISATION.split(),
    _LAYOUT.split(),
)

REDUCTIONS: frozenset[str] = frozenset(_REDUCTIONS.split())

ELEMENTWISE: frozenset[str] = (
    frozenset(("Identity", *_ARITHMETIC.split(), *_ACTIVATIONS.split()))
    - frozenset(("CumProd", "CumSum", "Hardmax", "LogSoftmax", "Softmax"))
)  # fmt: skip
"""Operators that compute each element on its own, with broadcasting."""

SIZE_OPERANDS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **{name: (1,) for name in _REDUCTIONS.split() if name.startswith("Reduce")},
}
"""Inputs whose values, not only sizes, determine the size of an output."""

MAY_BE_EMPTY: dict[str, tuple[int, ...]] = {
    "Cast": (0,),
    "Concat": tuple(range(64)),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Identity": (0,),
    "Reshape": (1,),
    "Resize": (1, 2),
    "Slice": (0,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Inputs that may be a list without elements: the shape of a scalar, an operand that is not used. Any
other tensor has at least one element, since ONNX Runtime does not expect less everywhere."""

MAY_GIVE_EMPTY = frozenset({"Cast", "Concat", "Identity", "Shape", "Slice"})
"""Operators that may give such a list."""

SINGLE: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "CumProd": (1,),
    "CumSum": (1,),
    "OneHot": (1,),
    "Range": (0, 1, 2),
    "TopK": (1,),
    "Trilu": (1,),
}
"""Inputs of exactly one element."""

HEAVY = frozenset((*_LAYERS.split(), "Col2Im", "Resize"))
"""Operators that take more than a few steps per element."""

SAME_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Operators without an inference rule in ONNX; the output has the type of the first input."""

INFERRED_SINCE = {"GreaterOrEqual": 16, "LessOrEqual": 16}
"""Operators whose earlier versions have no inference rule, and the version whose rule fits."""

FREE_NUMBERS = frozenset({"Constant", "Shape", "Slice"})
"""Operators whose integers are not limited, since large ones mean "to the end". The integers of all
others are limited by `MAX_ELEMENTS`, so that no size can overflow."""

MAY_BE_NEGATIVE = frozenset({"axes", "axis", "k", "pads"})
"""Attributes that may be negative. ONNX's inference does not check others, such as `batch_dims`."""

POSITIVE_IF_FIRST = frozenset(
    {"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
)
"""Operators whose output contains only values of their first input."""

POSITIVE_IF_ALL = frozenset({"Add", "Concat", "Max", "Mul"})
"""Operators that map positive numbers to positive numbers."""
