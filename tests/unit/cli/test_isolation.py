"""What doctor says of each layer: active, or missing with the reason and what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from evolve_core.cli.finding import Finding
from evolve_core.cli.isolation import of_bench, of_children
from evolve_core.judge.client import BenchLayers
from evolve_core.judge.host.gpu.confinement import Layer
from evolve_core.judge.host.lacking import no_landlock, no_namespaces

ALL: dict[str, Any] = {"namespaces": True, "bubblewrap": False, "landlock": 7, "seccomp": True}
SURE: dict[str, Any] = {"network_off": True, "read_only_files": True, "missing": []}


def by_layer(findings: list[Finding]) -> dict[str, Finding]:
    return {one.what.partition(": ")[2]: one for one in findings}


def test_every_layer_of_a_machine_that_has_all_is_active() -> None:
    found = by_layer(of_children({**ALL, **SURE}))
    assert [name for name, one in found.items() if one.ok] == ["namespaces", "landlock", "seccomp", "sockets"]
    assert found["bubblewrap"].ok is None and "not needed" in found["bubblewrap"].detail


def test_bubblewrap_stands_in_for_namespaces() -> None:
    found = by_layer(of_children({**ALL, **SURE, "namespaces": False, "bubblewrap": True, "landlock": 4}))
    assert found["bubblewrap"].ok and found["sockets"].ok
    assert "bubblewrap makes them" in found["namespaces"].detail


def test_what_is_missing_has_its_reason_and_a_step() -> None:
    missing = [
        {"layer": "namespaces", "why": "AppArmor refuses", "step": "install bubblewrap"},
        {"layer": "landlock", "why": "too old", "step": "use Linux 5.13"},
    ]
    nothing: dict[str, Any] = {"namespaces": False, "bubblewrap": False, "landlock": 0, "seccomp": True}
    found = of_children({**nothing, "network_off": True, "read_only_files": False, "missing": missing})
    named = by_layer(found)
    assert named["namespaces"].ok is None and "AppArmor refuses" in named["namespaces"].detail
    assert named["namespaces"].next_step == "install bubblewrap" and named["landlock"].next_step == "use Linux 5.13"
    assert named["seccomp"].ok
    assert found[-1].ok is False and "write your files" in found[-1].detail


def test_without_a_gpu_the_benchs_layers_are_not_known_yet() -> None:
    (one,) = of_bench(None)
    assert one.ok is None and "when there is a GPU" in one.detail
    (one,) = of_bench(BenchLayers((), {}, "the device is busy"))
    assert one.ok is None and one.detail == "the device is busy" and one.next_step


def test_the_benchs_layers_one_by_one() -> None:
    held = tuple(str(layer) for layer in Layer if layer is not Layer.CALLS)
    found = by_layer(of_bench(BenchLayers(held, {"calls": "the GPU's driver does not start behind it"})))
    assert set(found) == {str(layer) for layer in Layer}
    assert [name for name, one in found.items() if not one.ok] == ["calls"]
    assert "does not start behind it" in found["calls"].detail and found["calls"].next_step


@pytest.mark.parametrize(
    ("setting", "value", "step"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "install bubblewrap"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces"),
        ("user/max_user_namespaces", "96365", "in a container"),
    ],
)
def test_why_there_are_no_namespaces(tmp_path: Path, setting: str, value: str, step: str) -> None:
    file = tmp_path / setting
    file.parent.mkdir(parents=True)
    file.write_text(f"{value}\n")
    found = no_namespaces(errno.EPERM, tmp_path)
    assert found.layer == "namespaces" and found.step.startswith(step)


def test_what_an_old_kernels_landlock_lacks() -> None:
    assert [one.layer for one in no_landlock(0)] == ["landlock"]
    assert [one.layer for one in no_landlock(4)] == ["sockets"]
    assert no_landlock(7) == []
