"""Runs as the journal gives them: of any size, with every kind of verdict, estimated or measured."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from evolve_core.journal.model import CandidateRecord, Control, RunRecord, RunSpec, RunState
from evolve_core.judge.verdict import (
    Correctness,
    Failure,
    Interval,
    Speed,
    Stage,
    Trust,
    Verdict,
    WorkloadVerdict,
)
from evolve_core.propose.proposal import Step

BASE = (Path(__file__).parents[3] / "examples" / "softmax.py").read_text()
START = 1_772_366_400.0
CHANGES = [
    ("rewrite", "exp-to-exp2", (), ("tl.exp(x)", "tl.exp2(x * 1.4426950408889634)")),
    ("rewrite", "rows-per-program", (("rows", "4"),), ("row = tl.program_id(0)", "row = tl.program_id(0) * 4")),
    ("tune", "launch", (("num_warps", "8"),), ("BLOCK=BLOCK)", "BLOCK=BLOCK, num_warps=8)")),
    ("model", "claude-sonnet", (), ("numerator / denominator", "numerator * (1.0 / denominator)")),
]


@dataclass(frozen=True)
class Report:
    """What a test needs to render."""

    run: RunRecord
    candidates: tuple[CandidateRecord, ...]
    base: str = BASE


def winning_verdict(estimated: bool, ratio: float) -> Verdict:
    workloads = tuple(
        WorkloadVerdict(
            workload=f"w{n}",
            label=f"x: float32[{rows}, {cols}]",
            baseline_us=base_us,
            candidate_us=base_us / (ratio * factor),
            ratio=ratio * factor,
            interval=None if estimated else Interval(ratio * factor - 0.03, ratio * factor + 0.03),
            estimated=estimated,
            max_error=2.4e-7,
            native_error=1.2e-7,
        )
        for n, (rows, cols, base_us, factor) in enumerate(
            [(4096, 1024, 21.7, 1.08), (8192, 781, 1034.0, 0.7), (16384, 256, 0.81, 1.31)]
        )
    )
    return Verdict(
        correctness=Correctness.CORRECT,
        speed=Speed.ESTIMATED if estimated else Speed.FASTER,
        trust=Trust.KERNEL_ONLY,
        stage=Stage.SCREENING if estimated else Stage.CONFIRMATION,
        reason=f"estimated {ratio:.2f}× on sm_90" if estimated else "faster on 2 of 3 workloads",
        ratio=ratio,
        worst_ratio=ratio * 0.7,
        interval=None if estimated else Interval(ratio - 0.02, ratio + 0.02),
        workloads=workloads,
        environment=(("target", "sm_90"), ("triton", "3.9.0"))
        if estimated
        else (("device", "NVIDIA H100 80GB HBM3"), ("driver", "580.10"), ("triton", "3.9.0")),
    )


def _verdict(draw: random.Random, estimated: bool, progress: float) -> Verdict:
    failure = draw.choices([None, "wrong", *Failure], weights=[60, 12, 8, 4, 3, 1, 2, 1, 1, 1], k=1)[0]
    common = {"trust": Trust.KERNEL_ONLY, "stage": Stage.SCREENING}
    if failure == "wrong":
        reason = "max error 0.25 against 1.2e-07 of yours on x: float32[7, 33], seed 91"
        return Verdict(Correctness.WRONG, Speed.UNMEASURED, reason=reason, **common)
    if isinstance(failure, Failure):
        reason = f"{failure.value} in softmax_kernel, line 14: tl.arange needs a power of two"
        return Verdict(Correctness.UNVERIFIED, Speed.UNMEASURED, reason=reason, failure=failure, **common)
    ratio = draw.gauss(0.9 + 0.55 * progress, 0.18)
    ratio = max(ratio, 0.3)
    if estimated:
        reason = f"estimated {ratio:.2f}× on sm_90"
        return Verdict(Correctness.CORRECT, Speed.ESTIMATED, reason=reason, ratio=ratio, **common)
    speed = draw.choice([Speed.FASTER, Speed.SAME, Speed.SLOWER, Speed.UNMEASURED])
    return Verdict(Correctness.CORRECT, speed, reason="screened", ratio=ratio, **common)


@pytest.fixture
def make_report() -> Callable[..., Report]:
    def make(
        count: int, estimated: bool = True, state: RunState = RunState.DONE, seed: int = 3, wins: bool = True
    ) -> Report:
        draw = random.Random(seed)
        candidates: list[CandidateRecord] = []
        at = START + 6.4
        for ordinal in range(1, count + 1):
            proposer, rule, parameters, edit = draw.choice(CHANGES)
            # A few good candidates have most of the children, as in a real search.
            parent = draw.choice([*candidates[:: max(1, len(candidates) // 6)], None, None]) if candidates else None
            steps = (*(parent.recipe if parent else ()), Step(proposer, rule, parameters))
            at += draw.uniform(0.1, 1.5)
            candidates.append(
                CandidateRecord(
                    candidate_id=f"c{ordinal}",
                    run_id="r1",
                    ordinal=ordinal,
                    parents=(parent.candidate_id,) if parent else (),
                    summary=f"{rule.replace('-', ' ')} {' '.join(f'{n} {v}' for n, v in parameters)}".strip(),
                    recipe=steps[-6:],
                    source=(parent.source if parent else BASE).replace(*edit, 1),
                    created_at=at,
                    verdict=_verdict(draw, estimated, ordinal / count),
                    judged_at=at + draw.uniform(0.2, 2.0),
                )
            )
        best = ""
        if candidates and wins:
            chosen = candidates[len(candidates) * 2 // 3]
            verdict = winning_verdict(estimated, 1.42 if count < 400 else 2.1)
            chosen = _replaced(chosen, verdict)
            candidates[chosen.ordinal - 1] = chosen
            best = chosen.candidate_id
        return Report(_run(candidates, best, estimated, state, at), tuple(candidates))

    return make


def _replaced(candidate: CandidateRecord, verdict: Verdict) -> CandidateRecord:
    from dataclasses import replace

    return replace(candidate, verdict=verdict)


def _run(candidates: list[CandidateRecord], best: str, estimated: bool, state: RunState, end: float) -> RunRecord:
    spec = RunSpec(
        source_file="/srv/project/kernels/softmax.py",
        kernels=("softmax_kernel",),
        versions=("0123abcd",),
        base_source=BASE,
        task_file="/srv/project/kernels/softmax.evolve.py",
        entry="softmax",
        target="sm_90",
        seed=7,
    )
    verdict = next((c.verdict for c in candidates if c.candidate_id == best), None)
    return RunRecord(
        run_id="r1",
        spec=spec,
        state=state,
        reason="" if best else f"no gain: {len(candidates)} candidates, none better than yours",
        created_at=START,
        updated_at=end + 3,
        ended_at=end + 3 if state.is_final else None,
        pid=0,
        control=Control.NONE,
        proposed=len(candidates),
        judged=len(candidates),
        correct=sum(c.verdict is not None and c.verdict.correctness is Correctness.CORRECT for c in candidates),
        best=best,
        best_ratio=verdict.ratio if verdict else None,
        best_estimated=estimated and bool(best),
        environment=(("torch", "2.13.0"), ("python", "3.11.7"))
        if estimated
        else (("device", "NVIDIA H100 80GB HBM3"), ("torch", "2.13.0")),
    )
