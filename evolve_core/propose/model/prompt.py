"""Prompts: what a model is told about a kernel. The words are in ``templates/``, for people to read and change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from evolve_core.judge.verdict import Correctness, Speed, Stage, Verdict, WorkloadVerdict
from evolve_core.knowledge.excerpt import excerpt
from evolve_core.knowledge.redact import redact
from evolve_core.models.provider import Message, Request, Role
from evolve_core.propose.proposal import Judged, Situation
from evolve_core.source.model import Language

MAX_TRIED = 10
MAX_REASON = 240
MAX_WHOLE_FILE = 12_000
"""Characters up to which a file is shown whole: constants and helpers beside a kernel help to read it."""
MAX_SOURCE = 40_000
"""Characters of source in a prompt, about ten thousand tokens: a longer excerpt is not sent at all."""

NUDGES = (
    "Look at memory first: how many bytes must move, how many do, and how wide each access is.",
    "Look at the work of one program: more rows or a larger tile per program, fewer programs, less overhead for each.",
    "Look at arithmetic: cheaper instructions, fewer passes, work hoisted out of loops, algebra that saves operations.",
    "Look at latency: independent loads issued early, software pipelining, more in flight, fewer barriers.",
    "Look at the launch: block sizes, num_warps, num_stages, the order in which programs walk the data.",
    "Change the algorithm: fuse passes, compute online, split long reductions, keep intermediate values in registers.",
)


class SourceTooLong(ValueError):
    """The kernels and their host functions do not fit into a prompt."""

    def __init__(self, length: int) -> None:
        super().__init__(
            f"the kernels and the functions that launch them have {length} characters, more than the {MAX_SOURCE} that "
            "are sent to a model; move unrelated code out of those functions"
        )


def proposal_request(situation: Situation, parent: Judged, language: Language, draw: random.Random) -> Request:
    """The first message of a conversation about ``parent``. Errors: ``SourceTooLong``."""
    source = _shown_source(parent.proposal.source, language, situation.task.kernels)
    text = (
        _environment()
        .get_template("propose.md.j2")
        .render(
            language=language.value,
            fence="python" if language is Language.TRITON else "cuda",
            target=situation.target,
            entry=situation.task.entry,
            kernels=situation.task.kernels,
            source=source.rstrip(),
            is_descendant=bool(parent.candidate_id),
            verdict=_verdict_words(parent),
            workloads="\n".join(_workload_words(w) for w in parent.verdict.workloads),
            tried=_tried(situation.judged),
            nudge=draw.choice(NUDGES),
        )
    )
    return Request(_system(), (Message(Role.USER, text),))


def _shown_source(source: str, language: Language, kernels: Sequence[str]) -> str:
    """What leaves the machine, without keys and paths: a short file whole, of a longer one the kernels and hosts."""
    if len(source) <= MAX_WHOLE_FILE:
        return redact(source)
    part = redact(excerpt(source, language, kernels))
    if len(part) > MAX_SOURCE:
        raise SourceTooLong(len(part))
    return part


def repair_request(request: Request, answer: str, problem: str) -> Request:
    """The conversation, continued by what was wrong with the answer."""
    text = _environment().get_template("repair.md.j2").render(problem=problem)
    messages = (*request.messages, Message(Role.ASSISTANT, answer), Message(Role.USER, text))
    return Request(request.system, messages, request.max_tokens)


@cache
def _environment() -> Environment:
    # Prompts are plain text: nothing here is HTML to escape.
    return Environment(
        loader=PackageLoader("evolve_core.propose.model", "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _system() -> str:
    return _environment().get_template("system.md").render()


def _verdict_words(parent: Judged) -> str:
    verdict = parent.verdict
    if not parent.candidate_id:
        return "This is the user's own kernel: correct by definition, ratio 1."
    return f"{_outcome(verdict)}. Its changes so far: {parent.proposal.summary}."


def _outcome(verdict: Verdict) -> str:
    if verdict.correctness is not Correctness.CORRECT:
        return (verdict.failure or verdict.correctness).value
    if verdict.ratio is None:
        return "correct, not timed"
    return f"correct, {verdict.ratio:.2f}× the speed of the user's kernel ({_kind_of_number(verdict)})"


def _kind_of_number(verdict: Verdict) -> str:
    if verdict.speed is Speed.ESTIMATED:
        return "estimated"
    return "measured" if verdict.stage is Stage.CONFIRMATION else "measured once, in screening"


def _workload_words(workload: WorkloadVerdict) -> str:
    word = "estimated" if workload.estimated else "measured"
    numbers = []
    if workload.candidate_us is not None:
        numbers.append(f"{workload.candidate_us:.3g} µs {word}")
    if workload.ratio is not None:
        numbers.append(f"{workload.ratio:.2f}× {word}")
    if workload.note:
        numbers.append(workload.note)
    return f"- {workload.label or workload.workload}: {', '.join(numbers) or 'no figure'}"


def _tried(judged: Sequence[Judged]) -> list[str]:
    """The latest candidates, failures with their reason: those teach most."""
    return [_tried_words(j) for j in judged[-MAX_TRIED:]]


def _tried_words(judged: Judged) -> str:
    verdict = judged.verdict
    reason = ""
    if verdict.correctness is not Correctness.CORRECT:
        # A reason may quote a path of the user's machine, or a whole compiler log.
        reason = ": " + " ".join(redact(verdict.reason).split())[:MAX_REASON]
    return f"{judged.proposal.summary}: {_outcome(verdict)}{reason}"
