"""A row of small values is looked at by itself: beside larger ones its errors would not show."""

from __future__ import annotations

import pytest
import torch

from evolve_core.judge.correctness import Accepted, Rejected, Unproven, judge_checks
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.observation import Check, Outcome, OutputCheck

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def scaled(rows: int, columns: int, *, small: int = 1, scale: float = 1e-4) -> torch.Tensor:
    truth = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
    truth[:small] *= scale
    return truth


def judged(candidate: torch.Tensor, truth: torch.Tensor, native: torch.Tensor) -> Accepted | Rejected | Unproven:
    (row,) = compare_outputs([("out", candidate)], [("out", truth)], [("out", native)], True)
    return judge_checks([Check("w0", 7, "nan", Outcome.COMPARED, "", (), (OutputCheck(**row),), ())])


def like_a_kernel(truth: torch.Tensor, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Rounded from fp32 with errors of a few eps, of which each row shares some."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(truth.shape, generator=generator) + 4 * torch.randn(len(truth), 1, generator=generator)
    return (truth * (1 + noise.double() * 2.0**-24)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(4, 256), (512, 256), (64, 900), (2, 64)])
def test_a_small_row_that_is_off_by_five_percent_is_wrong(dtype: torch.dtype, rows: int, columns: int) -> None:
    truth = scaled(rows, columns)
    native, candidate = (like_a_kernel(truth, dtype, seed) for seed in (1, 2))
    assert judged(candidate, truth, native) == Accepted()
    candidate[0] = (truth[0] * 1.05).to(dtype)
    assert isinstance(judged(candidate, truth, native), Rejected)


def test_a_poorer_type_in_small_rows_alone_is_seen() -> None:
    truth = scaled(512, 256, small=3)
    native, candidate = (like_a_kernel(truth, torch.float32, seed) for seed in (1, 2))
    candidate[:3] = (candidate[:3] * 1024).half().float() / 1024
    verdict = judged(candidate, truth, native)
    assert isinstance(verdict, Rejected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_of_a_thousand_rows_of_all_scales_none_is_wrong_by_chance(dtype: torch.dtype, seed: int) -> None:
    truth = torch.randn(1000, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    truth *= 10.0 ** (-4 * torch.rand(1000, 1, generator=torch.Generator().manual_seed(seed)))
    native, candidate = (like_a_kernel(truth, dtype, 2 * seed + one) for one in (0, 1))
    assert judged(candidate, truth, native) == Accepted()


def test_short_rows_and_rows_like_the_others_are_not_looked_at() -> None:
    for truth in (scaled(9, 63), scaled(9, 64, scale=0.1), scaled(1, 256), torch.zeros(9, 64).double()):
        native = truth.float()
        (row,) = compare_outputs([("out", native)], [("out", truth)], [("out", native)], True)
        assert row["row_ratio"] is None
