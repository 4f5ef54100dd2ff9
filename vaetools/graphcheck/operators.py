"""The operators that a model may use, and what is known of them.

On the list are operators of the ONNX standard that give the same result every time, compute with
numbers, and whose outputs' sizes follow from their inputs' sizes and from constants. It holds what
exporters make of convolutions, dense and recurrent layers, attention, resampling, normalisation,
vector quantisation and 8-bit (QDQ) models. Not on it, on purpose:

- `Loop`, `If`, `Scan`, `SequenceMap`: they hold graphs of their own, and may run for ever;
- `Random*`, `Bernoulli`, `Multinomial`, `Dropout`: chance; noise is an input of a graph;
- `NonZero`, `Compress`, `Unique`, `NonMaxSuppression`: their size depends on the picture's content;
- sequences, optionals, strings, `ImageDecoder`: no networks;
- windows and Fourier transforms: sound, which can be added when a model needs it.
"""

from __future__ import annotations

MOST_ELEMENTS = 2**28
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

ALLOWED = frozenset().union(
    _ARITHMETIC.split(),
    _ACTIVATIONS.split(),
    _REDUCTIONS.split(),
    _LAYERS.split(),
    _NORMALISATIONS.split(),
    _QUANTISATION.split(),
    _LAYOUT.split(),
)

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
"""Inputs whose values, not only sizes, decide how large an output is."""

HEAVY = frozenset((*_LAYERS.split(), "Col2Im", "Resize"))
"""Operators that take more than a few steps per element."""

SAME_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Operators without an inference rule of their own in ONNX; the output is as the first input."""

INFERRED_SINCE = {"GreaterOrEqual": 16, "LessOrEqual": 16}
"""Operators whose earlier versions have no inference rule, and the version whose rule fits."""

FREE_NUMBERS = frozenset({"Constant", "Shape", "Slice"})
"""Operators whose integers may be as large as they like: they mean "to the end". With those of all
others, `MOST_ELEMENTS` being their limit, no size can wrap around."""

MAY_BE_NEGATIVE = frozenset({"axes", "axis", "k", "pads"})
"""Attributes with integers below zero; ONNX's inference takes others unchecked, as `batch_dims`."""

POSITIVE_IF_FIRST = frozenset(
    {"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
)
"""Operators that give nothing but what is in their first input."""

POSITIVE_IF_ALL = frozenset({"Add", "Concat", "Max", "Mul"})
"""Operators that give positive numbers for positive ones."""
