"""The GPUs that the host may use."""

from __future__ import annotations

from typing import Any

import pytest

from evolve_core.judge.host.devices import visible

DEVICES: list[dict[str, Any]] = [
    {"index": 0, "uuid": "GPU-aa11"},
    {"index": 1, "uuid": "GPU-ab22"},
    {"index": 2, "uuid": "GPU-cc33"},
]


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        (None, [0, 1, 2]),
        ("1", [1]),
        ("2, 0", [2, 0]),
        ("GPU-ab22,0", [1, 0]),
        ("GPU-c", [2]),
        ("GPU-a", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,7,0", [1]),
        ("0,0", []),
        ("0,1,0", []),
    ],
)
def test_cuda_visible_devices_chooses_in_its_order(wanted: str | None, indices: list[int]) -> None:
    environment = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    assert [one["index"] for one in visible(DEVICES, environment)] == indices
