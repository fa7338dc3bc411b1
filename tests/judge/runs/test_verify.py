"""Proofs: a verdict's evidence is judged again, and what was changed in it shows."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PYTHON = ("--python", sys.executable)


def kernel_evolve(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evolve_core", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The evidence of a faster candidate (estimated) …"""
    folder = tmp_path_factory.mktemp("recorded")
    for name in ("swiglu.py", "swiglu.evolve.py"):
        shutil.copy(EXAMPLES / name, folder)
    candidate = folder / "candidate.py"
    candidate.write_text((folder / "swiglu.py").read_text().replace("256", "1024"))
    assert candidate.read_text() != (folder / "swiglu.py").read_text()
    judged = kernel_evolve(folder, "judge", "swiglu.py", "--candidate", "candidate.py", "--json", *PYTHON)
    assert judged.returncode == 0, judged.stderr
    return dict(json.loads(Path(json.loads(judged.stdout)["evidence"]).read_text()))


@pytest.fixture
def verified(tmp_path: Path, recorded: dict[str, Any]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """… verified after ``change`` was made to it: exit code, what was printed, what was complained."""

    def run(change: Callable[[dict[str, Any]], object] = lambda record: None) -> tuple[int, dict[str, Any], str]:
        record = copy.deepcopy(recorded)
        change(record)
        proof = tmp_path / "proof.json"
        proof.write_text(json.dumps(record))
        ended = kernel_evolve(tmp_path, "verify", str(proof), "--json", *PYTHON)
        return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr

    return run


def test_an_honest_proof_is_reproduced_from_the_record_alone(verified: Any) -> None:
    code, found, complaint = verified()
    assert (code, found["outcome"]) == (0, "reproduced"), complaint
    assert found["reason"].startswith("correct, estimated again: estimated ")
    assert found["verdict"]["speed"] == "estimated"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose kernel lies in a package, and imports from it in every way."""
    folder = tmp_path_factory.mktemp("packaged")
    package = folder / "ops" / "fused"
    package.mkdir(parents=True)
    for init in (package, package.parent):
        (init / "__init__.py").touch()
    (package / "sizes.py").write_text("BLOCK = 256\n")
    (package.parent / "checks.py").write_text("def check(x):\n    assert x.ndim\n")
    (folder / "beside.py").write_text("FACTOR = 1.0\n")
    text = (EXAMPLES / "swiglu.py").read_text().replace("256", "BLOCK")
    imports = "import beside\nfrom ops.checks import check\nfrom .sizes import BLOCK\n"
    (package / "swiglu.py").write_text(text.replace("import torch\n", f"import torch\n{imports}", 1))
    task = (EXAMPLES / "swiglu.evolve.py").read_text()
    (package / "swiglu.evolve.py").write_text(f"from ops.checks import check\nfrom .swiglu import BLOCK\n{task}")
    return folder


def test_a_kernel_inside_a_package_is_verified_with_its_package(packaged: Path, tmp_path: Path) -> None:
    source = packaged / "ops" / "fused" / "swiglu.py"
    judged = kernel_evolve(packaged, "judge", str(source), "--candidate", str(source), "--json", *PYTHON)
    assert judged.returncode == 0, judged.stderr
    proof = json.loads(judged.stdout)["evidence"]
    ended = kernel_evolve(tmp_path, "verify", proof, *PYTHON)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    record = json.loads(Path(proof).read_text())
    assert record["task"]["package"] == ["ops", "fused"]
    record["task"]["folder"] = str(tmp_path / "another machine's")
    moved = tmp_path / "moved.json"
    moved.write_text(json.dumps(record))
    ended = kernel_evolve(tmp_path, "verify", str(moved), *PYTHON)
    assert ended.returncode == 2 and "lies in the package ops.fused, which is neither in" in ended.stderr
    assert "Run `kernel-evolve verify` in the folder that holds ops/." in ended.stderr
    ended = kernel_evolve(packaged, "verify", str(moved), *PYTHON)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_folder_that_the_evidence_only_names_is_left_alone(tmp_path: Path, recorded: dict[str, Any]) -> None:
    """Code that lies where a proof says, but beside other files than the proof's, is not executed."""
    named, here = tmp_path / "named", tmp_path / "here"
    named.mkdir()
    here.mkdir()
    (named / "helper.py").touch()
    record = copy.deepcopy(recorded)
    task = f"import helper\n{record['task']['task']}"
    record["task"].update(folder=str(named), task=task, task_sha256=hashlib.sha256(task.encode()).hexdigest())
    proof = here / "proof.json"
    proof.write_text(json.dumps(record))
    (named / "swiglu.py").write_text(record["baseline"]["source"])
    (named / "swiglu.evolve.py").write_text("# another task")
    ended = kernel_evolve(here, "verify", str(proof), *PYTHON)
    assert ended.returncode == 2 and "No module named 'helper'" in ended.stderr
    assert f"What lies in {named} was left alone: swiglu.py and swiglu.evolve.py are not there as in" in ended.stderr
    assert ended.stderr.endswith("run `kernel-evolve verify` in that folder.\n")
    (named / "swiglu.evolve.py").write_text(task)
    ended = kernel_evolve(here, "verify", str(proof), *PYTHON)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (named / "swiglu.evolve.py").unlink()
    ended = kernel_evolve(named, "verify", str(proof), *PYTHON)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_rejection_inside_a_package_is_reproduced_by_its_script(packaged: Path, tmp_path: Path) -> None:
    source = packaged / "ops" / "fused" / "swiglu.py"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(source.read_text().replace("silu * up", "silu + up"))
    judged = kernel_evolve(packaged, "judge", str(source), "--candidate", str(wrong), "--json", *PYTHON)
    assert judged.returncode == 1, judged.stderr
    script = tmp_path / "reproduce.py"
    script.write_text(json.loads(judged.stdout)["reproduce"])
    shown = subprocess.run([sys.executable, str(script)], cwd="/", capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("output 0: candidate max error ")


def test_a_claim_that_its_own_samples_do_not_support_is_not_even_run(verified: Any) -> None:
    code, found, _ = verified(lambda record: record["verdict"].update(ratio=9.0))
    assert (code, found["outcome"], found["verdict"]) == (1, "unsupported", None)
    assert "it claims a ratio of 9.0, but its own samples give " in found["reason"]
    code, found, _ = verified(lambda record: record["verdict"].update(speed="faster"))
    assert code == 1 and "it claims correct, faster, but its own observations say correct, estimated" in found["reason"]


def test_observations_that_were_made_up_are_not_reproduced(verified: Any, recorded: dict[str, Any]) -> None:
    """A wrong candidate under the observations and the verdict of a right one, with hashes that fit."""
    wrong = recorded["judged"]["source"].replace("silu * up", "silu + up")
    assert wrong != recorded["judged"]["source"]

    def forge(record: dict[str, Any]) -> None:
        record["judged"].update(source=wrong, source_sha256=hashlib.sha256(wrong.encode()).hexdigest())

    code, found, _ = verified(forge)
    assert (code, found["outcome"]) == (1, "not reproduced")
    assert found["reason"].startswith("recorded as correct, estimated (estimated ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["judged"].update(source="pass"), "The source text in the evidence is not the one that was judged"),
        (lambda r: r.update(version=99), "has version 99 and this kernel-evolve reads 3; judge it again"),
        (lambda r: r.pop("workloads"), "is damaged: KeyError: 'workloads'"),
        (lambda r: r["task"].update(file="../escaped.py"), "'../escaped.py' is not the name of a file"),
        (lambda r: r.pop("verdict"), "is not the evidence of a verdict"),
    ],
    ids=["source", "version", "field", "path", "other"],
)
def test_what_is_no_proof_of_ours_is_refused(verified: Any, change: Any, message: str) -> None:
    code, found, complaint = verified(change)
    assert (code, found) == (2, {})
    assert message in complaint and "Traceback" not in complaint


def test_a_file_that_is_no_json_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    ended = kernel_evolve(tmp_path, "verify", "x.json")
    assert ended.returncode == 2 and "x.json is not JSON" in ended.stderr
    ended = kernel_evolve(tmp_path, "verify", "missing.json")
    assert (
        ended.returncode == 2 and "There is no file missing.json. A run's evidence: kernel-evolve show" in ended.stderr
    )
