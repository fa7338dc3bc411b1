"""The whole red team on a real GPU, with the judge as the search uses it: exploits that only a device can see, too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Stage, Verdict
from tests.gpu.judges import Judges, Texts
from tests.judge.redteam.model import Exploit, Honest
from tests.judge.redteam.suite import EXPLOITS, HONEST, Record, escaped, kind_of, rejected
from tests.judge.redteam.tasks import VICTIMS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]


class Played:
    """What came of every candidate; a row is one line of the report."""

    def __init__(self, judges: Judges) -> None:
        self._judges = judges
        self.rows: list[dict[str, Any]] = []

    def verdict(self, candidate: Exploit | Honest) -> Verdict:
        """Screened, and an exploit that gets away with that confirmed, as a search would do before it claims anything.

        The row that is kept of it is one line of the report.
        """
        started = time.monotonic()
        verdict = self._judges.judge(candidate.task, candidate.source, Stage.SCREENING)
        is_exploit = isinstance(candidate, Exploit)
        if isinstance(candidate, Exploit) and escaped(candidate, verdict):
            verdict = self._judges.judge(candidate.task, candidate.source, Stage.CONFIRMATION)
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


def _texts(name: str) -> Texts:
    victim = VICTIMS[name]
    return Texts(victim.source, victim.task, victim.is_cuda)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    judges = Judges(tmp_path_factory.mktemp("redteam"), _texts)
    yield Played(judges)
    judges.close()


def judged(played: Played, candidate: Exploit | Honest, capsys: pytest.CaptureFixture[str], record: Record) -> Verdict:
    """For the rates at the end of the run, and as a line of JSON for whoever keeps what was measured."""
    verdict = played.verdict(candidate)
    row = played.rows[-1]
    record("redteam", (row["side"], row["name"], row["fooled"], ""))
    with capsys.disabled():
        print("\n" + json.dumps(row, ensure_ascii=False), flush=True)
    return verdict


@pytest.mark.parametrize("exploit", [pytest.param(one, id=one.name) for one in EXPLOITS])
def test_an_exploit_is_seen_through(
    played: Played, exploit: Exploit, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    """Kinds are not asked for: a device shows a fault as a crash where the interpreter names the access."""
    verdict = judged(played, exploit, capsys, record_property)
    assert not escaped(exploit, verdict), f"{kind_of(verdict)}, ratio {verdict.ratio}: {verdict.reason}"
    assert verdict.reason
    assert not verdict.is_winner


@pytest.mark.parametrize("honest", [pytest.param(one, id=one.name) for one in HONEST])
def test_an_honest_kernel_passes(
    played: Played, honest: Honest, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    """Also after whatever the exploits before it did to the device."""
    verdict = judged(played, honest, capsys, record_property)
    assert not rejected(verdict), f"{kind_of(verdict)}: {verdict.reason}"
