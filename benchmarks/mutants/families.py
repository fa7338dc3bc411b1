"""All operators of the study, by family."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.mutants import (
    activations,
    attentions,
    convolutions,
    formats,
    indexing,
    losses,
    matmuls,
    norms,
    pointwise,
    reductions,
    scans,
    softmaxes,
)  # fmt: skip
from benchmarks.mutants.kit import Operator

FAMILIES: Mapping[str, tuple[Operator, ...]] = {
    "activations": activations.OPERATORS,
    "gates, residuals, Adam": pointwise.OPERATORS,
    "softmax": softmaxes.OPERATORS,
    "norms": norms.OPERATORS,
    "reductions": reductions.OPERATORS,
    "matrix products": matmuls.OPERATORS,
    "attention": attentions.OPERATORS,
    "losses": losses.OPERATORS,
    "convolution, pooling": convolutions.OPERATORS,
    "scans": scans.OPERATORS,
    "indexing, sorting, copies": indexing.OPERATORS,
    "formats, integers": formats.OPERATORS,
}


def find(name: str) -> Operator:
    return next(operator for members in FAMILIES.values() for operator in members if operator.name == name)
