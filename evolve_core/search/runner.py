"""A runner: the process that carries one run from its first line in the journal to its last.

It owns the run's lock, the judge host and the journal's rows; it dies alone, and what it has judged stays.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from evolve_core.errors import AlreadyEvolved, KernelEvolveError, RunError, UsageError
from evolve_core.files import explain
from evolve_core.journal.lock import is_runner_alive, runner_lock
from evolve_core.journal.model import TASK_WARNING, CandidateRecord, RunRecord, RunSpec, RunState
from evolve_core.journal.paste import to_resume
from evolve_core.journal.reader import LAST_WORDS_MARK, JournalReader
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.session import JudgeRefused, TaskJudge
from evolve_core.judge.verdict import Correctness
from evolve_core.propose.proposal import Judged, Proposal
from evolve_core.search.archive import Archive
from evolve_core.search.beside import with_baselines
from evolve_core.search.budget import Budget
from evolve_core.search.loop import Search, Stop, best_confirmed, confirm, name_best
from evolve_core.search.proposers import panel_for
from evolve_core.search.remember import remember_outcomes, remember_winner, suggestions_for
from evolve_core.search.rotation import Rotation
from evolve_core.source.digest import source_digest
from evolve_core.source.parse import language_of
from evolve_core.task.model import Task
from evolve_core.workspace import log_file, spool_folder, state_folder, teeth_folder


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run may use. ``models`` is the ``--models`` text, "" for none."""

    python: Path
    workers: int = 2
    models: str = ""
    knowledge: str | None = None


def carry_out(workspace: Path, run_id: str, task: Task, spec: RunSpec, resources: Resources) -> RunRecord:
    """Start a new run and carry it to its end.

    Raises RunError where it cannot go on (it can be resumed), KernelEvolveError or OSError where it cannot begin.
    """
    with runner_lock(workspace, run_id) as leave_words, closing(JournalWriter(workspace)) as journal:
        journal.create_run(run_id, spec, os.getpid())
        with _saying_why(workspace, to_resume(run_id, workspace, str(resources.python)), leave_words):
            return _carry_on(workspace, run_id, task, spec, resources, journal, ())


def resume(workspace: Path, run: RunRecord, task: Task, resources: Resources) -> RunRecord:
    """Go on with a run whose runner is gone: nothing judged is judged again. Raises as ``carry_out`` does."""
    with (
        runner_lock(workspace, run.run_id) as leave_words,
        _saying_why(workspace, to_resume(run.run_id, workspace, str(resources.python)), leave_words, run.reason),
        closing(JournalWriter(workspace)) as journal,
    ):
        journal.adopt_run(run.run_id, os.getpid(), str(resources.python))
        with closing(JournalReader(workspace)) as reader:
            earlier = reader.candidates(run.run_id)
        return _carry_on(workspace, run.run_id, task, run.spec, resources, journal, earlier, run)


@contextlib.contextmanager
def _saying_why(
    workspace: Path, go_on: str, leave_words: Callable[[str], None], earlier_words: str = ""
) -> Iterator[None]:
    """A runner that cannot go on says why and how to resume, where readers find it even when the disk is full."""
    try:
        yield
    except AlreadyEvolved:
        # Another run is no reason why this one was interrupted, and will have ended when somebody reads this.
        with contextlib.suppress(OSError):
            leave_words(earlier_words)
        raise
    except (KernelEvolveError, OSError) as error:
        why = explain(error, workspace) if isinstance(error, OSError) else str(error)
        words = _and_resume(why, go_on)
        with contextlib.suppress(OSError):
            # Where every write is a copy there may be no room even for this; the terminal and the log have it too.
            leave_words(words)
        raise RunError(words) from error


def _and_resume(why: str, go_on: str) -> str:
    """A message whose next step is to resume: "try again" is that already, and is not said beside it."""
    again = "then try again."
    if why.endswith(again):
        return f"{why.removesuffix(again)}then go on with `{go_on}`."
    return f"{why} Go on with `{go_on}`."


def _carry_on(
    workspace: Path,
    run_id: str,
    task: Task,
    spec: RunSpec,
    resources: Resources,
    journal: JournalWriter,
    earlier: tuple[CandidateRecord, ...],
    before: RunRecord | None = None,
) -> RunRecord:
    journal.set_state(run_id, RunState.BASELINE)
    sweep(workspace)
    language = language_of(task.source_file)
    assert language is not None, "a task belongs to a file of a language we read"
    suggestions, notice = suggestions_for(spec, language, resources.knowledge)
    if notice:
        say(notice)
    try:
        panel = panel_for(spec, language, suggestions, resources.models, os.environ, say)
        with (
            closing(panel),
            spool_folder(workspace, run_id) as spool,
            log_file(workspace, run_id).open("ab") as log,
        ):
            judge = TaskJudge.open(
                task,
                spec.base_source,
                python=resources.python,
                spool=spool,
                target=spec.target,
                workers=resources.workers,
                log=log,
                teeth=teeth_folder(workspace),
            )
            with closing(judge):
                weak = ((TASK_WARNING, warning) for warning in judge.warnings)
                journal.set_environment(run_id, (*judge.environment, *weak))
                for note in judge.notes:
                    say(note)
                search = Search(
                    run_id=run_id,
                    archive=Archive(task, spec.base_source, spec.target, lambda text: source_digest(text, language)),
                    rotation=Rotation(panel.proposers),
                    panel=panel,
                    judge=judge,
                    journal=journal,
                    budget=Budget(spec.budget_seconds, spec.budget_candidates, spec.budget_dollars),
                    width=resources.workers,
                    spent_before_s=before.spent_s if before else 0.0,
                    spent_before_dollars=before.spent_dollars if before else 0.0,
                )
                state, reason = _evolve(search, spec, resources, earlier)
        journal.set_state(run_id, state, reason)
    except (JudgeRefused, UsageError) as refusal:
        journal.set_state(run_id, RunState.FAILED, str(refusal))
    with closing(JournalReader(workspace)) as reader:
        record = reader.run(run_id)
    assert record is not None, "the run was written a moment ago"
    return record


def _evolve(
    search: Search, spec: RunSpec, resources: Resources, earlier: tuple[CandidateRecord, ...]
) -> tuple[RunState, str]:
    journal, run_id = search.journal, search.run_id
    journal.set_state(run_id, RunState.EVOLVING)
    unfinished = _replay(search, earlier)
    stop, how = search.run(unfinished)
    if stop is Stop.CANCELLED:
        # A resumed run may hold what an earlier runner confirmed.
        return _cancelled(search, best_confirmed(search.archive))
    journal.set_state(run_id, RunState.VERIFYING, how)
    confirmed = confirm(search)
    if confirmed.cancelled:
        return _cancelled(search, confirmed.winner)
    if notice := remember_outcomes(run_id, search.archive.judged, resources.knowledge):
        say(notice)
    name_best(search, confirmed.winner)
    if confirmed.winner is None:
        return RunState.DONE, _no_gain(search, how)
    winner = with_baselines(search, confirmed.winner)
    with closing(JournalReader(journal.workspace)) as reader:
        record = reader.candidate(winner.candidate_id)
    assert record is not None, "the winner was written down before it was judged"
    if notice := remember_winner(spec, record, resources.knowledge):
        say(notice)
    return RunState.DONE, f"{_in_words(winner.proposal)} ({how})"


def _cancelled(search: Search, confirmed: Judged | None) -> tuple[RunState, str]:
    """What was confirmed stays a result; what was only screened never becomes one."""
    name_best(search, confirmed)
    if confirmed is None:
        return RunState.CANCELLED, "Cancelled by the user."
    return RunState.CANCELLED, f"Cancelled by the user; confirmed before that: {_in_words(confirmed.proposal)}."


def _replay(search: Search, earlier: tuple[CandidateRecord, ...]) -> tuple[CandidateRecord, ...]:
    """Learn what an earlier runner found out; return the candidates it did not live to judge."""
    for record in earlier:
        proposal = Proposal(record.source, record.summary, record.recipe, record.parents)
        search.archive.admit(proposal)
        if record.verdict is not None:
            search.learn(Judged(record.candidate_id, proposal, record.verdict))
    return tuple(record for record in earlier if record.verdict is None)


def _in_words(proposal: Proposal) -> str:
    """What a winner changes: the rules on the way to it, and its own summary."""
    earlier = dict.fromkeys(step.rule for step in proposal.recipe[:-1])
    return " + ".join([*earlier, proposal.summary])


def _no_gain(search: Search, how: str) -> str:
    correct = len(search.archive.ranking())
    unproven = sum(judged.verdict.correctness is Correctness.UNVERIFIED for judged in search.archive.judged)
    rest = f" and {unproven} could not be verified" if unproven else ""
    return f"No gain: of {search.judged} candidates {correct} were correct{rest}, none better than yours ({how})."


def sweep(workspace: Path) -> None:
    """Remove the bulk data that killed runners have left: a resumed run makes its own anew."""
    for folder in (state_folder(workspace) / "spool").glob("*"):
        if not is_runner_alive(workspace, folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def new_seed() -> int:
    return random.SystemRandom().randrange(2**31)


def say(message: str) -> None:
    """Say something to the user: on the terminal, or in the run's log, whose last such line readers show."""
    with contextlib.suppress(OSError):
        # A log on a full disk is no reason to stop.
        print(f"{LAST_WORDS_MARK}{message}", file=sys.stderr, flush=True)
