"""Runs from their first line in the journal to their last."""

from __future__ import annotations

import sys
from pathlib import Path

from evolve_core.journal.model import RunState
from evolve_core.judge.verdict import Correctness, Speed, Stage
from evolve_core.knowledge.store import open_store

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "unit" / "models"))
from loopback import Answer, Loopback, broken

EXP2 = """SUMMARY: exp2 instead of exp
<<<<<<< SEARCH
    numerator = tl.exp(x)
=======
    numerator = tl.exp2(x * 1.4426950408889634)
>>>>>>> REPLACE
"""
WRONG = """SUMMARY: skip the normalisation
<<<<<<< SEARCH
    tl.store(out_ptr + row * out_row_stride + cols, numerator / denominator, mask=mask)
=======
    tl.store(out_ptr + row * out_row_stride + cols, numerator, mask=mask)
>>>>>>> REPLACE
"""


def test_a_run_finds_a_winner_and_says_that_it_is_estimated(evolve):
    ended = evolve("swiglu", "--budget", "6c", "--seed", "3", "--proposers", "tune")
    assert ended.returncode == 0, ended.stderr
    run = ended.run
    assert run is not None and run.state is RunState.DONE
    assert run.judged == run.proposed == len(ended.candidates) == 6
    assert all(c.verdict is not None for c in ended.candidates)
    assert run.best_estimated and run.best_ratio is not None and run.best_ratio > 1.0
    best = next(c for c in ended.candidates if c.candidate_id == run.best)
    assert best.verdict is not None and best.verdict.stage is Stage.CONFIRMATION
    assert best.verdict.speed is Speed.ESTIMATED and "estimated" in best.verdict.reason
    assert dict(run.environment)["target"] == "sm_90"
    assert not (ended.workspace / ".kernel-evolve" / "spool" / "r1").exists()
    with open_store(f"sqlite:///{ended.workspace}/knowledge.sqlite") as store:
        (insight,) = store.all()
    assert insight.estimated and insight.kernel == "swiglu_kernel"


def test_a_language_models_candidates_are_judged_like_all_others(evolve):
    script = [broken(429), Answer(WRONG), Answer("I would rather talk about it."), Answer("Sorry."), Answer(EXP2)]
    with Loopback(script) as server:
        ended = evolve(
            "softmax", "--budget", "2c", "--proposers", "model", "--models", f"local:scripted@{server.url}/v1"
        )
    assert ended.returncode == 0, ended.stderr
    verdicts = {c.summary: c.verdict for c in ended.candidates}
    wrong = next(v for summary, v in verdicts.items() if "skip the normalisation" in summary)
    right = next(v for summary, v in verdicts.items() if "exp2 instead" in summary)
    assert wrong is not None and wrong.correctness is Correctness.WRONG and wrong.reproduce
    assert right is not None and right.correctness is Correctness.CORRECT


def test_a_key_reaches_no_file(evolve):
    key = "sk-secret-0123456789abcdef"
    with Loopback([Answer(EXP2)]) as server:
        ended = evolve(
            "softmax", "--budget", "1c", "--proposers", "model", "--models", f"anthropic:scripted@{server.url}",
            environ={"ANTHROPIC_API_KEY": key},
        )  # fmt: skip
        sent = server.requests[0].headers
    assert ended.returncode == 0 and ended.run is not None and ended.run.judged == 1, ended.stderr
    assert key in " ".join(sent.values()), sent
    assert key not in ended.stdout + ended.stderr
    for path in ended.workspace.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_without_a_key_everything_else_works(evolve):
    ended = evolve("swiglu", "--budget", "1c", "--models", "anthropic:some-model", environ={"ANTHROPIC_API_KEY": ""})
    assert ended.returncode == 0 and ended.run is not None and ended.run.judged == 1
    assert ended.stderr.count("ANTHROPIC_API_KEY is not set") == 1


def test_what_won_is_tried_first_on_a_similar_kernel(evolve):
    first = evolve("swiglu", "--budget", "4c", "--seed", "3", "--proposers", "tune")
    assert first.run is not None and first.run.best, first.stderr
    knowledge = {"KERNEL_EVOLVE_KNOWLEDGE": f"sqlite:///{first.workspace}/knowledge.sqlite"}
    renamed = (first.workspace / "swiglu.py").read_text().replace("swiglu", "gated").replace("silu", "activated")
    task = (first.workspace / "swiglu.evolve.py").read_text().replace('"swiglu"', '"gated"')
    second = evolve("gated", "--budget", "1c", "--run-id", "r2", source=renamed, task=task, environ=knowledge)
    assert second.returncode == 0, second.stderr
    assert '"best": "r2-1"' in second.stdout, second.stdout
