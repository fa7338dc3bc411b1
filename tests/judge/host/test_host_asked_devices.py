"""Kernel libraries ask about the device while they are imported: the target's facts answer, where there is no GPU."""

from __future__ import annotations

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, Bench, as_task

HARDWARE = """\
import torch
import triton

target = triton.runtime.driver.active.get_current_target()
NAME = torch.cuda.get_device_name(0)
CAPABILITY = torch.cuda.get_device_capability()
SHARED = torch.cuda.get_device_properties(0).shared_memory_per_block_optin
properties = triton.runtime.driver.active.utils.get_device_properties(torch.cuda.current_device())
PROCESSORS = properties["multiprocessor_count"]
FACTS = (target.backend, target.arch, NAME, CAPABILITY, SHARED, PROCESSORS, torch.cuda.is_bf16_supported())
"""
"""What fla.utils.hardware of fla-core asks at import, and what of it its files ask for."""

FACTS = {
    "sm_90": ("cuda", 90, "NVIDIA H100", (9, 0), 232448, 132, True),
    "sm_80": ("cuda", 80, "NVIDIA A100", (8, 0), 166912, 108, True),
}


@pytest.mark.parametrize("target", FACTS)
def test_a_package_that_asks_at_import(tmp_path_factory: pytest.TempPathFactory, target: str) -> None:
    folder = tmp_path_factory.mktemp("asking")
    package = folder / "ops"
    package.mkdir()
    (package / "__init__.py").write_text("from ops.hardware import FACTS\n")
    (package / "hardware.py").write_text(HARDWARE)
    source = f"from .hardware import FACTS\n\nassert FACTS == {FACTS[target]}, FACTS\n{DOUBLE}"
    task = f"from ops.hardware import FACTS\n\nassert FACTS == {FACTS[target]}, FACTS\n{DOUBLE_TASK}"
    (package / "kernels.py").write_text(source)
    (package / "kernels.evolve.py").write_text(task)
    with Bench(folder, target) as bench:
        described = as_task(package / "kernels.py", package / "kernels.evolve.py", "double")
        opened = bench.host.open(described, source, "no-gpu")
        assert bench.judge(opened, source.replace("256", "128")).failure is None


def test_the_oracle_sees_no_gpu_to_send_tensors_to(bench: Bench) -> None:
    said = "import torch\n\nassert not torch.cuda.is_available() and torch.cuda.device_count() == 0\n"
    device = 'x.to("cuda" if torch.cuda.is_available() else "cpu") * 2.3'
    bench.open(DOUBLE, said + DOUBLE_TASK.replace("x * 2.3", device))
