"""compute-sanitizer: its logs as NVIDIA's manual and its users show them, where it is found, and how it is run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.host.gpu import sanitizer
from evolve_core.judge.host.gpu.sanitizer import command, find_sanitizer, watch
from evolve_core.judge.host.gpu.sanitizer_log import Tool, judged, parsed

FINISHED: dict[str, Any] = {"finished": True, "allocations": [[0x710FDC800000, 1024, "x"]]}

MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at unaligned_kernel()+0x100 in memcheck_demo.cu:34
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x7cc43aa00001 is misaligned
=========     and is inside the nearest allocation at 0x7cc43aa00000 of size 4 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: run_unaligned() [0xacd4] in memcheck_demo
=========
========= Invalid __global__ write of size 4 bytes
=========     at out_of_bounds_kernel+0x90
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x710fdc800404 is out of bounds
=========     and is 5 bytes after the nearest allocation at 0x710fdc800000 of size 1,024 bytes
=========
========= Program hit CUDA_ERROR_LAUNCH_FAILED (error 719) due to "unspecified launch failure" on CUDA API call to k.
=========
========= ERROR SUMMARY: 3 errors
"""
RACECHECK = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at sumKernel+0x90 in /home/cuda/block_error.cu:41
=========     and Read access at sumKernel+0x100 in /home/cuda/block_error.cu:51 [508 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""


def test_the_manuals_memory_errors_are_read() -> None:
    misaligned, outside = parsed(Tool.MEMCHECK, MEMCHECK)
    assert (misaligned.kernel, misaligned.line, misaligned.access) == ("unaligned_kernel", 34, "write")
    assert misaligned.is_misaligned and not outside.is_misaligned
    assert (outside.kernel, outside.line, outside.address) == ("out_of_bounds_kernel", None, 0x710FDC800404)
    assert outside.says.endswith("5 bytes after the nearest allocation at 0x710fdc800000 of size 1,024 bytes")


def test_the_manuals_race_is_read() -> None:
    (race,) = parsed(Tool.RACECHECK, RACECHECK)
    assert (race.kernel, race.line, race.access) == ("sumKernel", 41, "")
    assert "Read access at sumKernel+0x100 in /home/cuda/block_error.cu:51 [508 hazards]" in race.says


@pytest.mark.parametrize(
    ("text", "kernel", "line"),
    [
        ("at 0x3c8 in U:/Lab04/exercise01.cu:42:affine_decrypt(int*,int*)", "affine_decrypt", 42),
        ("at 0x150 in kernel(int*, int)", "kernel", None),
        ("at unaligned_kernel():0x160 in memcheck_demo.cu:6", "unaligned_kernel", 6),
        ("at scale_kernel(float*, int, float)+0x50 in scale.cu:14", "scale_kernel", 14),
    ],
)
def test_places_as_the_versions_write_them(text: str, kernel: str, line: int | None) -> None:
    log = f"========= Invalid __global__ read of size 16 bytes\n=========     {text}\n"
    (found,) = parsed(Tool.MEMCHECK, log)
    assert (found.kernel, found.line) == (kernel, line)


def test_an_address_in_shared_memory_is_near_no_tensor() -> None:
    log = "========= Invalid __shared__ read of size 4 bytes\n=========     Address 0x404 is out of bounds\n"
    (found,) = parsed(Tool.MEMCHECK, log)
    assert (found.access, found.address) == ("read", None)


def test_an_older_racechecks_words_are_read() -> None:
    log = (
        "========= ERROR: Race reported between Read access at 0x6360 in /home/convolution.cu:123:convolution(int)\n"
        "=========     and Write access at 0x1fe0 in /home/convolution.cu:63:convolution(int) [1088 hazards]\n"
    )
    (race,) = parsed(Tool.RACECHECK, log)
    assert (race.kernel, race.line) == ("convolution", 123)


CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
NO_RACE = "========= COMPUTE-SANITIZER\n========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
WARNED = """========= Warning: Race reported between Write access at k+0x90
=========     and Write access at k+0x90 [4 hazards]
========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)
"""


@pytest.mark.parametrize(("tool", "log"), [(Tool.MEMCHECK, CLEAN), (Tool.RACECHECK, NO_RACE), (Tool.RACECHECK, WARNED)])
def test_a_call_that_came_to_its_end_without_errors_is_clean(tool: Tool, log: str) -> None:
    seen = judged(tool, log, FINISHED)
    assert not seen.findings and not seen.why_not


@pytest.mark.parametrize(
    ("log", "report", "output", "why_not"),
    [
        (CLEAN, {}, "", "memcheck: it ended without a word"),
        (CLEAN, {"failed": "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY"}, "", "CUDA_ERROR_OUT_OF_MEMORY"),
        ("========= Error: Device not supported.\n", {}, "", "memcheck: Error: Device not supported."),
        ("", {}, "unrecognised option '--log-file'\n", "memcheck: unrecognised option '--log-file'"),
        ("========= Something new\n========= ERROR SUMMARY: 1 error\n", FINISHED, "", "memcheck: Something new"),
    ],
)
def test_what_did_not_come_to_its_end_says_nothing(log: str, report: dict[str, Any], output: str, why_not: str) -> None:
    seen = judged(Tool.MEMCHECK, log, report, output)
    assert not seen.findings
    assert why_not in seen.why_not


def test_what_a_kernel_prints_is_no_log() -> None:
    """Standard output is the watched process's, and with that the kernel's."""
    seen = judged(Tool.MEMCHECK, MEMCHECK, {}, CLEAN)
    assert len(seen.findings) == 2
    assert not judged(Tool.MEMCHECK, CLEAN, FINISHED, MEMCHECK).findings


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    installed = tmp_path / "toolkit"
    monkeypatch.setattr(sanitizer, "toolkits", lambda inside: [installed / inside] * (installed / inside).exists())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages")])


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "place",
    [
        "bin/compute-sanitizer",
        "toolkit/compute-sanitizer/compute-sanitizer",
        "site-packages/nvidia/cu13/compute-sanitizer/compute-sanitizer",
        "site-packages/nvidia/cuda_sanitizer_api/bin/compute-sanitizer",
    ],
)
def test_it_is_found_where_it_may_be_and_can_be_run(tmp_path: Path, place: str) -> None:
    tool = executable(tmp_path / place)
    assert find_sanitizer() == tool
    tool.chmod(0o644)
    assert find_sanitizer() is None


STANDING_IN = """#!/bin/sh
# As the real tool: the log where it is told, then the program behind the options.
if [ "$1" = --help ]; then echo "  --check-bulk-copy arg (=yes)"; exit; fi
for option; do
    case $option in
        --log-file=*) log=${option#--log-file=} ;;
        --*) ;;
        *) break ;;
    esac
    shift
done
"""


def test_options_that_a_version_lacks_are_left_out(tmp_path: Path) -> None:
    tool = executable(tmp_path / "tool", STANDING_IN)
    race = command(tool, Tool.RACECHECK, tmp_path, 5.0)
    assert "--check-bulk-copy=no" in race and not any("memcpy-async" in option for option in race)
    assert race[-4:] == ["--sanitized", str(tmp_path), str(tmp_path / "racecheck"), "5.0"]


def test_a_watched_process_that_finds_no_driver_says_so(tmp_path: Path) -> None:
    """The real one, up to where it opens the driver; and where there is one, its job."""
    tool = executable(tmp_path / "tool", f'{STANDING_IN}printf "{CLEAN}" > "$log"\nexec "$@"\n')
    for tool_name, seen in watch(tool, list(Tool), tmp_path, 20.0).items():
        assert not seen.findings
        missing = f"{tool_name}: libcuda.so.1: cannot open shared object file", f"{tool_name}: [Errno 2] No such file"
        assert seen.why_not.startswith(missing)


def test_a_tool_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    tool = executable(
        tmp_path / "tool", f"{STANDING_IN}echo $$ >> {tmp_path}/pids\nsleep 300 & echo $! >> {tmp_path}/pids\nwait\n"
    )
    began = time.monotonic()
    seen = watch(tool, list(Tool), tmp_path, 1.0)
    assert {one.why_not for one in seen.values()} == {"memcheck took longer than 1 s", "racecheck took longer than 1 s"}
    assert time.monotonic() - began < 10.0
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert not any(_lives(pid) for pid in pids)


def test_what_was_found_before_a_tool_was_killed_counts(tmp_path: Path) -> None:
    (tmp_path / "said").write_text(MEMCHECK)
    tool = executable(tmp_path / "tool", f'{STANDING_IN}cp {tmp_path}/said "$log"\nsleep 300\n')
    seen = watch(tool, [Tool.MEMCHECK], tmp_path, 1.0)[Tool.MEMCHECK]
    assert len(seen.findings) == 2 and not seen.why_not


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_tool_that_cannot_be_started_is_no_finding(tmp_path: Path) -> None:
    seen = watch(tmp_path / "absent", [Tool.MEMCHECK], tmp_path, 1.0)
    assert seen[Tool.MEMCHECK].why_not == "memcheck cannot be started"
