"""Real journals, written with the real writer, without the search that would fill them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from evolve_core.journal.lock import runner_lock
from evolve_core.journal.model import RunSpec, RunState
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.verdict import Baseline, Correctness, Interval, Speed, Stage, Trust, Verdict, WorkloadVerdict
from evolve_core.propose.proposal import Proposal, Step
from evolve_core.source.model import Language
from evolve_core.source.parse import parse

ESTIMATED = Verdict(
    correctness=Correctness.CORRECT,
    speed=Speed.ESTIMATED,
    trust=Trust.HOST_CODE,
    stage=Stage.CONFIRMATION,
    reason="Correct on 12 workloads; 1.38× estimated for sm_90.",
    ratio=1.38,
    worst_ratio=1.1,
    workloads=(
        WorkloadVerdict("w0", "x=float32[4096,1024]", 1.0, 21.4, 15.5, 1.38, None, True, 2.4e-07, 1.8e-07),
        WorkloadVerdict("w1", "x=float32[8192,781]", 1.0, 33.0, 30.0, 1.1, None, True, 2.4e-07, 1.8e-07),
    ),
    environment=(("target", "sm_90"), ("triton", "3.9.0")),
)
MEASURED = replace(
    ESTIMATED,
    speed=Speed.FASTER,
    reason="Correct on 12 workloads; 1.38× measured.",
    interval=Interval(1.33, 1.43),
    workloads=tuple(replace(w, estimated=False, interval=Interval(1.3, 1.4)) for w in ESTIMATED.workloads),
    environment=(("device", "NVIDIA H200"), ("triton", "3.9.0")),
    baselines=(Baseline("eager", 0.77, Interval(0.76, 0.78)),),
)


@dataclass(frozen=True, slots=True)
class Winner:
    source: str
    verdict: Verdict = ESTIMATED
    summary: str = "exp → exp2 with log2(e) folded in"


def spec(source: Path, kernel: str = "softmax_kernel", text: str | None = None, target: str = "sm_90") -> RunSpec:
    text = source.read_text() if text is None else text
    version = parse(text, Language.TRITON).kernel(kernel)
    assert version is not None
    return RunSpec(
        source_file=str(source),
        kernels=(kernel,),
        versions=(version.version,),
        base_source=text,
        task_file=str(source.with_suffix(".evolve.py")),
        entry="softmax",
        target=target,
        seed=1,
        budget_candidates=200,
    )


def ended_run(
    workspace: Path,
    run_spec: RunSpec,
    *,
    run_id: str = "run-1",
    state: RunState = RunState.DONE,
    reason: str = "",
    winner: Winner | None = None,
    environment: tuple[tuple[str, str], ...] = (),
) -> None:
    """A run that is over, as its runner would have left it."""
    with runner_lock(workspace, run_id), closing(JournalWriter(workspace)) as journal:
        journal.create_run(run_id, run_spec, 1)
        journal.set_state(run_id, RunState.EVOLVING)
        journal.set_environment(run_id, environment)
        if winner is not None:
            add_best(journal, run_id, winner)
        if state is not RunState.INTERRUPTED:
            journal.set_state(run_id, state, reason)


@contextmanager
def active_run(workspace: Path, run_spec: RunSpec, *, run_id: str = "run-1") -> Iterator[JournalWriter]:
    """A run whose runner (this process) is alive for as long as the block lasts."""
    with runner_lock(workspace, run_id), closing(JournalWriter(workspace)) as journal:
        journal.create_run(run_id, run_spec, 1)
        journal.set_state(run_id, RunState.EVOLVING)
        yield journal


def judge_candidates(journal: JournalWriter, run_id: str, count: int) -> None:
    """Candidates as good as the user's own, for a count to show."""
    for ordinal in range(count):
        proposal = Proposal(f"# {ordinal}\n", f"candidate {ordinal}", (Step("tune", "launch"),))
        candidate_id = journal.add_candidate(run_id, proposal)
        journal.add_verdict(candidate_id, replace(ESTIMATED, ratio=1.0), {})


def add_best(journal: JournalWriter, run_id: str, winner: Winner) -> None:
    proposal = Proposal(winner.source, winner.summary, (Step("rewrite", "exp-to-exp2"), Step("tune", "launch")))
    candidate_id = journal.add_candidate(run_id, proposal)
    journal.add_verdict(candidate_id, winner.verdict, {})
    estimated = winner.verdict.speed is Speed.ESTIMATED
    journal.set_best(run_id, candidate_id, winner.verdict.ratio, estimated=estimated)


def faster(text: str) -> str:
    """The text with a change inside the kernel."""
    return text.replace("tl.exp(x)", "tl.exp2(x * 1.4426950408889634)")


def faster_launch(text: str) -> str:
    """The text with a change of the launch alone: the kernel's version does not move."""
    return text.replace("BLOCK=BLOCK)", "BLOCK=BLOCK, num_warps=8)")
