"""torch's operators that a launch plan may hold: the list of what host code may do beside launching kernels.

Every overload here was read for this: what it gives depends on its arguments alone (no random numbers, no state kept
between calls), the shapes of its results on the shapes and plain arguments alone (no look at contents), it makes no
round trip to the host, and it touches no memory but its arguments' and its results'. An operator that is not here ends
the plan: the candidate's own Python runs then, and the verdict says which operator it was.

Standard library alone, because plans are read where torch is not.
"""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What an operator does with memory."""

    LOOKS = "looks"
    """Its results lie in the memory of its argument; nothing happens on the device."""
    MAKES = "makes"
    """Its results lie in new memory, each in its own."""
    CHANGES = "changes"
    """It writes into arguments, as its schema says, and makes nothing."""


_LOOKS = """
    alias as_strided detach diagonal expand lift_fresh permute select.int slice.Tensor split.Tensor split_with_sizes
    squeeze squeeze.dim squeeze.dims t transpose.int unbind.int unfold unsafe_split.Tensor unsqueeze view view.dtype
    _unsafe_view _reshape_alias
"""
_ELEMENT_BY_ELEMENT = """
    abs neg sign reciprocal rsqrt sqrt exp exp2 expm1 log log2 log10 log1p sin cos tan tanh sigmoid erf erfc
    relu silu gelu leaky_relu elu hardtanh hardsigmoid hardswish softplus floor ceil round round.decimals trunc frac
    isnan isinf nan_to_num logical_not bitwise_not
    add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar mul.Tensor mul.Scalar
    div.Tensor div.Scalar div.Tensor_mode div.Scalar_mode floor_divide floor_divide.Scalar
    remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar
    pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar maximum minimum atan2
    clamp clamp.Tensor clamp_min clamp_max clamp_min.Tensor clamp_max.Tensor
    where.self masked_fill.Scalar masked_fill.Tensor
    addcmul addcdiv lerp.Scalar lerp.Tensor
    eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar
    ge.Tensor ge.Scalar logical_and logical_or logical_xor
    bitwise_and.Tensor bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar
    bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor
    bitwise_right_shift.Tensor_Scalar
"""
_MOVES = """
    cat stack flip roll repeat constant_pad_nd tril triu index.Tensor index_select gather
"""
_FROM_NUMBERS = """
    arange arange.start arange.start_step eye eye.m linspace scalar_tensor
"""
_REDUCES = """
    sum sum.dim_IntList mean mean.dim prod prod.dim_int amax amin max min max.dim min.dim argmax argmin
    any any.dim all all.dim var.correction std.correction var_mean.correction linalg_vector_norm logsumexp
    cumsum cumprod
"""
_COMPUTES = """
    mm bmm mv dot addmm baddbmm _softmax _log_softmax native_layer_norm
"""
_IN_PLACE = """
    abs_ neg_ reciprocal_ rsqrt_ sqrt_ exp_ exp2_ log_ log2_ sigmoid_ tanh_ relu_ silu_ floor_ ceil_ round_ trunc_
    add_.Tensor add_.Scalar sub_.Tensor sub_.Scalar mul_.Tensor mul_.Scalar div_.Tensor div_.Scalar
    pow_.Scalar pow_.Tensor clamp_ clamp_min_ clamp_max_ masked_fill_.Scalar masked_fill_.Tensor
    addcmul_ addcdiv_ lerp_.Scalar fill_.Tensor
"""
_OUT = """
    add.out sub.out mul.out div.out maximum.out minimum.out exp.out sqrt.out rsqrt.out neg.out abs.out where.self_out
    sum.IntList_out mean.out amax.out amin.out cat.out mm.out bmm.out addmm.out baddbmm.out
"""


def _named(words: str) -> list[str]:
    return [f"aten::{word}" if "." in word else f"aten::{word}.default" for word in words.split()]


ALLOWED: dict[str, Effect] = {
    **dict.fromkeys(_named(_LOOKS), Effect.LOOKS),
    **dict.fromkeys(
        _named(_ELEMENT_BY_ELEMENT + _MOVES + _FROM_NUMBERS + _REDUCES + _COMPUTES),
        Effect.MAKES,
    ),
    **dict.fromkeys(_named(_IN_PLACE + _OUT), Effect.CHANGES),
}
"""By name and overload, as in ``aten::add.Tensor``; the overload without a name is ``default``."""
