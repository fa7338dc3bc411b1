"""How much memory there is for the judge: the kernel's own files, in the layouts that machines and containers have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evolve_core.judge.host.memory import group_limits, most_resident_bytes, most_together_bytes

GIB = 1 << 30


def laid(tmp_path: Path, groups: str, mounts: str, limits: dict[str, str]) -> list[int]:
    """The limits found where /proc/self and the mounted groups hold these texts; MOUNT stands for the latter."""
    proc, mount = tmp_path / "proc", tmp_path / "mount"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts.replace("MOUNT", str(mount)))
    for name, text in limits.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(f"{text}\n")
    return sorted(group_limits(proc))


SECOND = "31 23 0:28 / MOUNT rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = (
    "35 31 0:32 {root} MOUNT/memory rw,relatime - cgroup cgroup rw,memory\n"
    "36 31 0:33 / MOUNT/cpu rw - cgroup cgroup rw,cpu\n"
)


@pytest.mark.parametrize(
    ("groups", "mounts", "limits", "found"),
    [
        ("0::/\n", SECOND, {}, []),
        ("0::/\n", SECOND, {"memory.max": str(4 * GIB)}, [4 * GIB]),
        (
            "0::/user.slice/run.scope\n",
            SECOND,
            {"user.slice/memory.max": str(3 * GIB), "user.slice/run.scope/memory.max": "max", "memory.max": "max"},
            [3 * GIB],
        ),
        ("0::/a/b\n", SECOND, {"a/memory.max": str(2 * GIB), "a/b/memory.max": str(5 * GIB)}, [2 * GIB, 5 * GIB]),
        (
            "4:memory:/docker/0123\n2:cpu:/other\n0::/\n",
            FIRST.format(root="/"),
            {
                "memory/docker/0123/memory.limit_in_bytes": str(GIB),
                "memory/memory.limit_in_bytes": str(9223372036854771712),
                "cpu/other/memory.limit_in_bytes": "1",
            },
            [GIB, 9223372036854771712],
        ),
        (
            "4:cpu,memory:/docker/0123\n",
            FIRST.format(root="/docker/0123"),
            {"memory/memory.limit_in_bytes": str(2 * GIB)},
            [2 * GIB],
        ),
        ("4:memory:/docker/0123\n", FIRST.format(root="/docker/4567"), {"memory/memory.limit_in_bytes": "7"}, [7]),
        ("odd\n\n", "odd\n - \n", {}, []),
    ],
    ids=["none", "container", "slice", "nested", "v1", "v1-container", "v1-named-as-outside", "odd-files"],
)
def test_the_limits_of_the_own_group_and_of_those_above_it(
    tmp_path: Path, groups: str, mounts: str, limits: dict[str, str], found: list[int]
) -> None:
    assert laid(tmp_path, groups, mounts, limits) == found


def test_without_such_files_the_machines_memory_is_what_there_is(tmp_path: Path) -> None:
    assert group_limits(tmp_path / "no-such-folder") == []
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < most_resident_bytes() < most_together_bytes() < machine
    assert most_resident_bytes() <= 0.6 * min([machine, *group_limits()])
