"""Whether torch's own operators did a candidate's work, and its kernels only hand the result on.

The judge host records which operators the host code of a candidate calls in Triton's interpreter, and on how many
elements; the same of the user's own kernel, and of reference(). Copies, views, fills and arithmetic element by element
are what honest host code prepares and finishes with. Matrix products, normalisations, sorts and the like over as much
as the inputs hold are the work itself, unless the user's own host code does them, too. A sum may be an honest last
step over partial results: it counts where reference() reduces, and only over as much as the inputs hold.

The same is read off the launch plans at the timed sizes. A plan is what trusted code carries out on a device, so there
nothing is missing in it. The other records are made in the process that runs the candidate, which could undo them: none
is no proof of honesty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.observation import Check, Observation

Records = Sequence[Mapping[str, int]]
"""By operator, the elements handed to it: one record for each call or plan."""

SHARE = 1 / 2
"""Of the elements of all inputs. Partial results that are summed in the end are a small part of them."""

_MATRIX = ("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "linear", "_scaled_mm", "_int_mm")
_SOFTMAX = ("_softmax", "_log_softmax", "_safe_softmax")
_NORM = ("native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit", "_fused_rms_norm")
_SORT = ("sort", "topk", "kthvalue", "median", "mode", "_unique2", "unique_dim", "histc", "bincount")
_SCAN = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
_EXTREME = ("amax", "amin", "max", "min", "argmax", "argmin")
_SUM = ("sum", "nansum", "mean", "prod", "norm", "linalg_vector_norm", "logsumexp")
_SPREAD = ("var", "std", "var_mean", "std_mean")

_FAMILY = {
    **dict.fromkeys(_MATRIX, "matrix product"),
    **dict.fromkeys(_SOFTMAX, "softmax"),
    **dict.fromkeys(_NORM, "normalisation"),
    **dict.fromkeys(_SORT, "sort"),
    **dict.fromkeys(_SCAN, "scan"),
    **dict.fromkeys((*_EXTREME, *_SUM, *_SPREAD), "reduction"),
}
_REDUCING = {"reduction", "softmax", "normalisation", "attention"}


def family(operator: str) -> str:
    """The kind of work that an operator such as ``aten::mm`` is; "" for what honest host code does in passing."""
    name = operator.partition("::")[2]
    if "convolution" in name or name.startswith("conv"):
        return "convolution"
    return "attention" if "attention" in name else _FAMILY.get(name, "")


def done_by_library(checks: Sequence[Check]) -> str:
    """The sentence that says which operator does the work in place of the kernels; "" where none does."""
    seen = [check for check in checks if check.input_elements]
    return _sentence(
        [check.host_operators for check in seen],
        [check.native_operators for check in seen],
        _reference_families(checks),
        sum(check.input_elements for check in seen),
    )


def planned_for_library(opened: OpenedTask, observed: Observation) -> str:
    """The same of the launch plans: what the host code has torch do at the sizes that count, which no check need see.

    Only where both have a plan for a workload is there something to compare.
    """
    own, found = opened.baseline.planned_operators, observed.planned_operators
    both = [workload for workload in opened.workloads if workload.id in own and workload.id in found]
    return _sentence(
        [found[workload.id] for workload in both],
        [own[workload.id] for workload in both],
        _reference_families([*opened.baseline.checks, *observed.checks]),
        sum(math.prod(one.shape) for workload in both for one in workload.inputs),
    )


def _reference_families(checks: Sequence[Check]) -> set[str]:
    return {family(name) for check in checks for name in check.reference_operators}


def _sentence(found: Records, own: Records, references: set[str], input_elements: int) -> str:
    before = _by_family(own)
    for kind, elements in sorted(_by_family(found).items()):
        if kind == "reduction" and not references & _REDUCING:
            continue
        if elements - before.get(kind, 0) >= SHARE * input_elements:
            names = {name for record in found for name in record if family(name) == kind}
            called = ", ".join(sorted(name.replace("aten::", "torch's ") for name in names))
            return f"its host code has the library do the work, which yours does not: {kind} by {called}"
    return ""


def _by_family(records: Records) -> dict[str, int]:
    total: dict[str, int] = {}
    for record in records:
        for name, elements in record.items():
            if kind := family(name):
                total[kind] = total.get(kind, 0) + elements
    return total
