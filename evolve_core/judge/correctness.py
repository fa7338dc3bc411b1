"""The acceptance rule: is a candidate's result as good as the user's own kernel's, measured against the truth?

With e = out - truth and native = the errors of the user's own kernel on the same inputs, an output is accepted iff

* kind, dtype, shape, strides, memory and the places of NaN and Inf are the contract's, and no input was changed;
* max|e|            <= 3 max|native| + 2 ulp(max|truth|), for 32-bit and wider types 64 ulp
* RMS(e)            <= 2 RMS(native) (1 + 4/√n) + eps RMS(truth)/8 (1 + 8/√n), for 32-bit and wider types with 8 eps
  RMS(truth), and so inside each magnitude quantile, there with 32 eps (judge/host/quantiles.py);
* RMS(e)            <= 4 RMS(native) + eps RMS(truth), for 32-bit and wider types with 256 eps, in each row whose
  values are 30 times smaller than the largest row's;
* |mean(e)| and |mean(e·sign truth)| <= 2 |native's| + 4 RMS(native)/√(2√n), plus 8 eps RMS(truth) for 32-bit and
  wider types;
* misrounded(out)   <= 2 misrounded(native) + 1/32 + 4 √((misrounded(native) + 1/32)/n) for types narrower than that;
* where the user's kernel is exact throughout (copy, max, relu), and for integers: bitwise equal.

``native`` is the user's own kernel, or, on values where results hang on the inputs' last bits (nearly constant, equal,
cancelling), what reference() makes of inputs that moved in those (judge/host/conditioning.py). A reordered variant of
the kernel would say less: it keeps what is exact by luck in any order, as a mean of equal values is.

The factors 3, 2, 1/8 and 4 were fitted on 35 honest variants and 89 mutants of one family of operators. The other
terms keep honest kernels in. A handful of errors scatters by about 1/√n of its RMS, so that one lucky element must
not decide. And n errors are not n independent ones: a row shares its rounded denominator, so 2√n stands for the
number of rows, and a type that is computed in its own precision shows that shared error undiluted. (Measured on an
NVIDIA H200: an honest fp32 softmax with exp2 had a mean error of 0.23 eps on 7 rows and 0.02 eps on 4096, as the
user's kernel had; an honest fp16 layernorm stayed under 0.003 eps.) 16-bit results keep the sharp limit: there it is
what catches a reduction that leaves out one element in thousands.

A 32-bit result may be wrong in its last bits however it is computed, and the user's own kernel may be right there by
luck: hence the wider terms for those types, derived beside the constants below. They stay far from what a poorer type
costs: rounding to tf32 or fp16 has an RMS of 1700 eps of fp32 (0.21 · 2⁻¹⁰), to bf16 of 14,000. A 16-bit result is
computed in fp32 and rounded once, so that it is nearly always the truth rounded, in whichever order it was added. Its
own rounding hides a loss that is smaller than it, of which the misrounded elements tell.

On 92 operators and seeds that were not looked at while the terms were chosen, 0.65 % of honest variants are rejected and
0.36 % of mutants accepted; which ones is in benchmarks/results/mutants.json. (1.56 % and 0.51 % before results on
ill-conditioned values were measured by inputs that moved.) Of the former, most are sorts that put NaN elsewhere, and
fp32 statistics of outliers, where the user's kernel is right by luck; of the latter, an exponential good to 1e-4 whose
error a sum or bf16's rounding hides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evolve_core.judge.observation import Check, OutputCheck

MAX_FACTOR = 3.0
MAX_ULPS = 2.0
OWN_PRECISION_ULPS = 64.0
"""Eight times the RMS share: of a billion normally distributed errors the largest is 6.1 times their RMS."""
RMS_FACTOR = 2.0
RMS_EPS_SHARE = 1 / 8
OWN_PRECISION_EPS_SHARE = 8.0
"""A running sum of n terms. Rounding to nearest has an RMS of 0.21 eps of what is rounded (uniform in half an ulp, ulps
between eps/2 and eps), and after k additions √k σ is; their errors add up to 0.15 eps n σ, √n σ being the result. So
0.15 √n eps: 8 eps are 2800 terms one after another, where a tree over the same terms is off by 0.7 eps.
"""
ROW_FACTOR = 4.0
"""Twice the factor for an RMS: a row has few elements, which share errors, and the worst of many rows is looked at."""
MEAN_FACTOR = 2.0
MEAN_SIGMAS = 4.0
SMALL_SAMPLE_RMS = 4.0
SMALL_SAMPLE_EPS = 8.0
DEPENDENT_EPS_SHARE = OWN_PRECISION_EPS_SHARE
"""An error that all elements share, such as a rounded denominator's, has a mean as large as its RMS."""
OWN_PRECISION_EPS = 2.0**-12
"""Types with a smaller eps are usually computed in their own precision; those with a larger one in fp32, then
rounded.
"""
MISROUNDED_FACTOR = RMS_FACTOR
MISROUNDED_SHARE = 1 / 32
"""Half of what the mildest loss does: bf16 rounded through fp16 first, whose three more bits are a tie one time in
eight and then go the wrong way one time in two. fp32 errors of k eps misround about k 2⁻¹³ of fp16 results and k 2⁻¹⁶
of bf16 ones; a running sum of thousands of terms stays below 1 % with that, values near zero included.
"""
MISROUNDED_SIGMAS = 4.0
"""The share that is seen of n elements scatters by √(share/n)."""
MISROUNDED_ELEMENTS = 256
"""On fewer elements the scatter alone is as large as the share."""
FLUSHED = 2.0**-126
"""GPUs may flush denormals of fp32 (judge/host/quantiles.py); what is NaN or infinite is compared before."""
EXACT_ELEMENTS = 256
"""An error of zero on fewer elements than this may be luck; from here on the user's kernel counts as exact."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Everything that was checked is within the rule."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """``reason`` completes the sentence "wrong on WORKLOAD: …"; ``check`` is the one that failed.

    ``cheating`` where no honest kernel does such a thing (a result that is no plain tensor), as opposed to a mistake.
    """

    reason: str
    cheating: bool = False
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nothing was found wrong, but what was checked proves nothing."""

    reason: str


def judge_checks(checks: Sequence[Check]) -> Accepted | Rejected | Unproven:
    """All checks of one candidate: the first rejection in order, ``Unproven`` where nothing was compared."""
    exact = exact_outputs(checks)
    for check in checks:
        result = judge_check(check, exact)
        if not isinstance(result, Accepted):
            return result
    if not any(output.n for check in checks for output in check.outputs):
        return Unproven("nothing was checked: no workload produced an output to compare")
    return Accepted()


def judge_check(check: Check, exact: frozenset[str] = frozenset()) -> Accepted | Rejected | Unproven:
    """One check. ``exact`` names the outputs that the user's own kernel computes without any error."""
    if check.inputs_changed:
        names = ", ".join(check.inputs_changed)
        return Rejected(f"it changes its input {names}, which your kernel leaves alone", check=check)
    if check.poison_equal is False:
        return Rejected("the result depends on memory that nothing wrote (it differs between two poisons)", check=check)
    for output in check.outputs:
        if broken := _contract(output):
            return Rejected(broken, cheating=not output.type_ok, check=check)
        result = _numbers(output, bitwise=output.name in exact)
        if isinstance(result, str):
            return Rejected(result, check=check)
        if isinstance(result, Unproven):
            return result
    return Accepted()


def exact_outputs(checks: Iterable[Check]) -> frozenset[str]:
    """Names of the outputs on which the user's own kernel has no error at all, over enough elements to mean it."""
    largest: dict[str, float] = {}
    elements: dict[str, int] = {}
    for output in (output for check in checks for output in check.outputs):
        if output.native_max is not None:
            largest[output.name] = max(largest.get(output.name, 0.0), output.native_max)
            elements[output.name] = elements.get(output.name, 0) + output.n
    return frozenset(name for name, worst in largest.items() if worst == 0.0 and elements[name] >= EXACT_ELEMENTS)


def epsilon(output: OutputCheck) -> float:
    """The output type's eps, out of the distance of neighbours at the largest truth."""
    if not output.ulp or not output.max_abs_truth:
        return 0.0
    exponent = math.frexp(output.max_abs_truth)[1] - 1
    # Below the smallest normal number the distance no longer shrinks; no type has an eps above a quarter.
    return min(output.ulp / 2.0**exponent, 0.25)


def _contract(output: OutputCheck) -> str | None:
    """What is wrong with the output as an object; None where nothing is."""
    name = output.name
    broken = (
        (not output.type_ok, f"{name} is not a plain tensor where your kernel returns one"),
        (not output.dtype_ok, f"{name} has another dtype than your kernel's"),
        (not output.shape_ok, f"{name} has another shape than your kernel's"),
        (not output.stride_ok, f"{name} has other strides than your kernel's"),
        (output.aliases_input, f"{name} shares memory with an input, which your kernel's does not"),
        (not output.nonfinite_ok, f"{name} has NaN or infinity where the truth has none, or lacks it where it has one"),
    )
    return next((message for is_broken, message in broken if is_broken), None)


def _numbers(output: OutputCheck, *, bitwise: bool) -> str | Unproven | None:
    """None where the values are good, else what is wrong with them."""
    if output.exact or output.n == 0:
        return None
    if output.max_error is None or output.native_max is None:
        return f"{output.name} could not be compared with the truth"
    if output.rms_error is None:
        return _integers(output)
    if bitwise:
        if output.max_error <= FLUSHED:
            return None
        return f"{output.name} differs by up to {output.max_error:.2g} where your kernel is exact"
    return next((message for rule in _RULES if (message := rule(output)) is not None), None)


def _integers(output: OutputCheck) -> str | Unproven:
    if output.native_max == 0:
        return f"the integers of {output.name} differ from the truth by up to {output.max_error:.0f}"
    return Unproven(
        f"the integers of {output.name} in your own kernel differ from reference(); the two must agree first"
    )


def _maximum(output: OutputCheck) -> str | None:
    error, native = _value(output.max_error), _value(output.native_max)
    ulps = OWN_PRECISION_ULPS if _own_precision(output) else MAX_ULPS
    if error <= MAX_FACTOR * native + ulps * _value(output.ulp):
        return None
    return f"max error of {output.name} {error:.2g} where your kernel has {native:.2g}"


def _rms(output: OutputCheck) -> str | None:
    error, native = _value(output.rms_error), _value(output.native_rms)
    root = math.sqrt(output.n)
    spread = RMS_FACTOR * native * (1 + SMALL_SAMPLE_RMS / root)
    if error <= spread + _noise(output) * (1 + SMALL_SAMPLE_EPS / root):
        return None
    return f"RMS error of {output.name} {error:.2g} where your kernel has {native:.2g}"


def _quantiles(output: OutputCheck) -> str | None:
    if output.quantile_ratio is None or output.quantile_ratio <= RMS_FACTOR:
        return None
    return (
        f"the errors of {output.name} are {output.quantile_ratio:.1f} times your kernel's among values of one magnitude"
    )


def _rows(output: OutputCheck) -> str | None:
    if output.row_ratio is None or output.row_ratio <= ROW_FACTOR:
        return None
    return f"the errors of {output.name} are {output.row_ratio:.1f} times your kernel's in a row of small values"


def _mean(output: OutputCheck) -> str | None:
    return _bias(output, output.mean_error, output.native_mean, "mean error")


def _signed(output: OutputCheck) -> str | None:
    return _bias(
        output, output.signed_error, output.native_signed, "error in scale (mean error along the truth's sign)"
    )


def _bias(output: OutputCheck, error: float | None, native: float | None, what: str) -> str | None:
    rows = 2 * math.sqrt(output.n)
    spread = max(_value(output.native_rms), _noise(output) * (1 + SMALL_SAMPLE_EPS / math.sqrt(output.n)))
    eps = epsilon(output)
    shared = DEPENDENT_EPS_SHARE * eps * _value(output.rms_truth) if eps < OWN_PRECISION_EPS else 0.0
    limit = MEAN_FACTOR * abs(_value(native)) + MEAN_SIGMAS * spread / math.sqrt(rows) + shared
    if abs(_value(error)) <= limit:
        return None
    return f"{what} of {output.name} {_value(error):.2g} where your kernel has {_value(native):.2g}"


def _misrounding(output: OutputCheck) -> str | None:
    if output.n < MISROUNDED_ELEMENTS or epsilon(output) < OWN_PRECISION_EPS:
        return None
    share, native = _value(output.misrounded), _value(output.native_misrounded)
    spread = MISROUNDED_SIGMAS * math.sqrt((native + MISROUNDED_SHARE) / output.n)
    if share <= MISROUNDED_FACTOR * native + MISROUNDED_SHARE + spread:
        return None
    return f"{share:.1%} of {output.name} are not the truth rounded, of your kernel's {native:.1%}"


def _noise(output: OutputCheck) -> float:
    share = OWN_PRECISION_EPS_SHARE if _own_precision(output) else RMS_EPS_SHARE
    return share * epsilon(output) * _value(output.rms_truth)


def _own_precision(output: OutputCheck) -> bool:
    return epsilon(output) < OWN_PRECISION_EPS


def _value(number: float | None) -> float:
    """A statistic that must be there; NaN (a comparison that failed) is larger than any limit."""
    return math.inf if number is None or math.isnan(number) else number


def run_to_run(checks: Sequence[Check]) -> str:
    """What was seen of one candidate's results on inputs that it had before, in words; "" where it had none twice."""
    again = [check.repeated for check in checks if check.repeated is not None]
    if not again:
        return ""
    if all(again):
        return f"deterministic: the same bits in each of {len(again)} repeated calls"
    return f"bounded: other bits, within the tolerance, in {again.count(False)} of {len(again)} repeated calls"


_RULES: tuple[Callable[[OutputCheck], str | None], ...] = (
    _maximum,
    _rms,
    _quantiles,
    _rows,
    _mean,
    _signed,
    _misrounding,
)
