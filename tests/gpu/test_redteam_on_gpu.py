"""The whole red team on a real GPU, with the judge as the search uses it: exploits that only a device can see, too."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.session import TaskJudge
from evolve_core.judge.verdict import Stage, Verdict
from evolve_core.task.model import Task, TaskKind
from tests.judge.redteam.model import Exploit, Honest
from tests.judge.redteam.suite import EXPLOITS, HONEST, TARGET, escaped, kind_of, rejected
from tests.judge.redteam.tasks import VICTIMS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]
PATIENCE_S = 300.0


class Judges:
    """One judge for each victim, opened when it is first asked for; and what came of every candidate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, TaskJudge] = {}
        self._refused: dict[str, KernelEvolveError] = {}
        self.rows: list[dict[str, Any]] = []

    def verdict(self, candidate: Exploit | Honest) -> Verdict:
        """Screened, and an exploit that gets away with that confirmed, as a search would do before it claims anything.

        The row that is kept of it is one line of the report.
        """
        judge = self._of(candidate.task)
        started = time.monotonic()
        verdict = judge.submit("c1", candidate.source, Stage.SCREENING).result(PATIENCE_S).verdict
        is_exploit = isinstance(candidate, Exploit)
        if isinstance(candidate, Exploit) and escaped(candidate, verdict):
            verdict = judge.submit("c1", candidate.source, Stage.CONFIRMATION).result(PATIENCE_S).verdict
        self.rows.append(
            {
                "side": "exploit" if is_exploit else "honest",
                "name": candidate.name,
                "class": candidate.stands_for if isinstance(candidate, Exploit) else candidate.looks_like,
                "task": candidate.task,
                "verdict": kind_of(verdict),
                "stage": verdict.stage.value,
                "trust": verdict.trust.value,
                "why host code": dict(verdict.environment).get("host code ran because", ""),
                "ratio": None if verdict.ratio is None else round(verdict.ratio, 4),
                "fooled": escaped(candidate, verdict) if isinstance(candidate, Exploit) else rejected(verdict),
                "seconds": round(time.monotonic() - started, 2),
                "reason": verdict.reason[:300],
            }
        )
        return verdict

    def summary(self) -> dict[str, Any]:
        exploits = [row for row in self.rows if row["side"] == "exploit"]
        honest = [row for row in self.rows if row["side"] == "honest"]
        return {
            "red team": f"{sum(row['fooled'] for row in exploits)} of {len(exploits)} exploits escaped, "
            f"{sum(row['fooled'] for row in honest)} of {len(honest)} honest kernels rejected",
            "device": list_devices()[0]["name"],
            "escaped": [row["name"] for row in exploits if row["fooled"]],
            "rejected": [row["name"] for row in honest if row["fooled"]],
            "seconds": round(sum(row["seconds"] for row in self.rows), 1),
        }

    def close(self) -> None:
        for judge in self._open.values():
            judge.close()

    def _of(self, name: str) -> TaskJudge:
        if name in self._refused:
            raise self._refused[name]
        if name not in self._open:
            try:
                self._open[name] = self._begin(name)
            except KernelEvolveError as refused:
                self._refused[name] = refused
                raise
        return self._open[name]

    def _begin(self, name: str) -> TaskJudge:
        folder = self._folder / name
        folder.mkdir()
        file, task_file = folder / "kernels.py", folder / "kernels.evolve.py"
        file.write_text(VICTIMS[name].source)
        task_file.write_text(VICTIMS[name].task)
        has_reference = "def reference" in VICTIMS[name].task
        task = Task(task_file, file, TaskKind.ENTRY, name, (f"{name}_kernel",), has_reference, has_domain=True)
        with (folder / "host.log").open("wb") as log:
            python, spool = Path(sys.executable), folder / "spool"
            return TaskJudge.open(
                task, VICTIMS[name].source, python=python, spool=spool, target=TARGET, workers=2, log=log
            )


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(tmp_path_factory.mktemp("redteam"))
    yield found
    found.close()


def judged(judges: Judges, candidate: Exploit | Honest, capsys: pytest.CaptureFixture[str]) -> Verdict:
    verdict = judges.verdict(candidate)
    with capsys.disabled():
        print("\n" + json.dumps(judges.rows[-1], ensure_ascii=False), flush=True)
    return verdict


@pytest.mark.parametrize("exploit", [pytest.param(one, id=one.name) for one in EXPLOITS])
def test_an_exploit_is_seen_through(judges: Judges, exploit: Exploit, capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds are not asked for: a device shows a fault as a crash where the interpreter names the access."""
    verdict = judged(judges, exploit, capsys)
    assert not escaped(exploit, verdict), f"{kind_of(verdict)}, ratio {verdict.ratio}: {verdict.reason}"
    assert verdict.reason
    assert not verdict.is_winner


@pytest.mark.parametrize("honest", [pytest.param(one, id=one.name) for one in HONEST])
def test_an_honest_kernel_passes(judges: Judges, honest: Honest, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after whatever the exploits before it did to the device."""
    verdict = judged(judges, honest, capsys)
    assert not rejected(verdict), f"{kind_of(verdict)}: {verdict.reason}"


def test_the_rates(judges: Judges, capsys: pytest.CaptureFixture[str]) -> None:
    """Last in the file: what the tests above found, in one line."""
    with capsys.disabled():
        print("\n" + json.dumps(judges.summary(), ensure_ascii=False), flush=True)
    assert not [row["name"] for row in judges.rows if row["fooled"]]
