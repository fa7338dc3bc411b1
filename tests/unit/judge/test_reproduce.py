"""The script that shows a rejection draws the inputs that the judge had drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evolve_core.judge.host.distributions import AS_DRAWN, VARIED, vary
from evolve_core.judge.reproduce import DRAWN, VARIATIONS


@pytest.mark.parametrize("distribution", [AS_DRAWN, *VARIED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32])
def test_the_script_varies_values_as_the_judge_does(distribution: str, dtype: torch.dtype) -> None:
    values = (torch.randn(7, 301), torch.randn(5, 2000).t(), torch.randn(40)[1:], torch.ones(1))
    given = {f"x{number}": value.to(dtype) for number, value in enumerate(values)}
    expected = vary({name: value.clone() for name, value in given.items()}, distribution)
    names: dict[str, Any] = {
        "torch": torch,
        "DEVICE": "cpu",
        "DISTRIBUTION": "" if distribution == AS_DRAWN else distribution,
        "VARIATIONS": VARIATIONS.read_text(encoding="utf-8"),
        "find": lambda task: lambda generator, device: given,
        "task": None,
    }
    exec(DRAWN, names)
    drawn = names["drawn"](7)
    assert all(torch.equal(drawn[name].nan_to_num(nan=7.5), expected[name].nan_to_num(nan=7.5)) for name in given)
