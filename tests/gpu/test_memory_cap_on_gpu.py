"""Host code that takes all of a real GPU's memory fails by itself, and the next candidate is judged as ever."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Failure, Stage
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example, variants

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]

ENTRY = "def softmax(x: torch.Tensor) -> torch.Tensor:\n"
# A random number comes first, which no plan holds: so the host code itself runs beside the device.
HOARD = (
    "    torch.rand(1, device=x.device)\n"
    "    hoard = [torch.empty(1 << 30, dtype=torch.uint8, device=x.device) for _ in range(1024)]\n"
)
TAKE_ALL = """
import torch
from evolve_core.judge.host.gpu.memory_cap import cap_memory, most_bytes
free, total = torch.cuda.mem_get_info()
cap_memory()
block = most_bytes(free) // 16
hoard = []
try:
    for _ in range(64):
        hoard.append(torch.empty(block, dtype=torch.uint8, device="cuda"))
except torch.cuda.OutOfMemoryError:
    print(len(hoard), most_bytes(free) - torch.cuda.memory_reserved() >= 0)
"""


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(tmp_path_factory.mktemp("judges"), lambda name: Texts(*example(name)))
    yield found
    found.close()


def test_torch_takes_its_share_and_no_more() -> None:
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", TAKE_ALL], capture_output=True, text=True, timeout=120, check=True, cwd=root
    )
    blocks, within = ran.stdout.split()
    assert int(blocks) in (15, 16)  # Rounding up to whole pages may cost the last one its place.
    assert within == "True"


def test_who_takes_all_memory_is_out_of_it_and_nobody_else(judges: Judges) -> None:
    honest = variants("softmax")["warps8"]
    hoarding = honest.replace(ENTRY, ENTRY + HOARD)
    assert hoarding != honest
    verdict = judges.judge("softmax", hoarding, Stage.SCREENING)
    assert verdict.failure is Failure.OUT_OF_MEMORY, verdict.reason
    after = judges.judge("softmax", honest, Stage.SCREENING)
    assert after.correctness is Correctness.CORRECT, after.reason
