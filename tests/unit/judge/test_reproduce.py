"""The script that shows a rejection draws the inputs that the judge had drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evolve_core.judge.host.distributions import AS_DRAWN, VARIED, vary
from evolve_core.judge.reproduce import VARIED as SCRIPTED


@pytest.mark.parametrize("distribution", [AS_DRAWN, *VARIED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32])
def test_the_script_varies_values_as_the_judge_does(distribution: str, dtype: torch.dtype) -> None:
    names: dict[str, Any] = {"torch": torch, "DISTRIBUTION": "" if distribution == AS_DRAWN else distribution}
    exec(SCRIPTED, names)
    for drawn in (torch.randn(7, 301), torch.randn(5, 2000).t(), torch.randn(40)[1:], torch.ones(1)):
        value = drawn.to(dtype)
        expected = vary({"x": value}, distribution)["x"].clone()
        assert torch.equal(names["varied"](value), expected)
