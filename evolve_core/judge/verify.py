"""Replay a proof: judge the recorded candidate again on this machine and compare what is found with what is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO

from evolve_core.judge.evidence import Record, in_words, unsupported
from evolve_core.judge.session import JudgeRefused, TaskJudge
from evolve_core.judge.verdict import Speed, Verdict
from evolve_core.source.encoding import NotText, text_of
from evolve_core.task.model import Task

ESTIMATES_AGREE = 0.02
"""Estimates of one source for one target differ only by which programs were sampled."""

_TOOLS = ("driver", "triton", "torch")


class Outcome(StrEnum):
    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    OTHER_HARDWARE = "other hardware"
    """Measured times belong to a device. The candidate was judged here all the same."""
    UNSUPPORTED = "unsupported"
    """The record does not support its own claim; nothing was run."""


@dataclass(frozen=True, slots=True)
class Verification:
    """``reason`` gives the figures of both sides; ``verdict`` is what was found here, None where nothing ran."""

    outcome: Outcome
    reason: str
    verdict: Verdict | None = None


def verify(record: Record, folder: Path, python: Path, log: IO[bytes], roots: Sequence[Path] = ()) -> Verification:
    """Judge ``record``'s candidate again, with files written into ``folder``.

    What the file imports from around it is looked for where the file lay, if that is under ``roots`` or holds the
    files of the record as they were, then under ``roots``. Raises JudgeRefused as the judge does, and where the package
    of the file is nowhere.
    """
    if why := unsupported(record):
        return Verification(Outcome.UNSUPPORTED, f"the evidence does not support itself: {why}")
    around = _surroundings(record, roots)
    task = _written(record, folder / "code", around)
    spool = folder / "spool"
    spool.mkdir()
    try:
        judge = TaskJudge.open(
            task, record.opened.source, python=python, spool=spool, target=record.target, workers=1, log=log
        )
    except JudgeRefused as refusal:
        raise _with_place(refusal, record, around) from None
    try:
        verdict = judge.submit("candidate", record.source, record.claim.stage, record.finalists).result().verdict
        there, here = dict(record.observed.environment), dict(judge.environment)
    finally:
        judge.close()
    if (device := there.get("device")) != (mine := here.get("device")):
        reason = f"recorded on {device}, this machine has {mine}; here it is {in_words(verdict)}: {verdict.reason}"
        return Verification(Outcome.OTHER_HARDWARE, reason, verdict)
    changed = [
        f"{name} was {there.get(name)}, is {here.get(name)}" for name in _TOOLS if there.get(name) != here.get(name)
    ]
    tools = f" ({'; '.join(changed)})" if changed else ""
    if why := difference(record, verdict):
        return Verification(Outcome.NOT_REPRODUCED, why + tools, verdict)
    return Verification(Outcome.REPRODUCED, f"{in_words(verdict)} again: {verdict.reason}{tools}", verdict)


def difference(record: Record, verdict: Verdict) -> str:
    """How ``verdict`` contradicts the record's claim, with both figures; "" where it does not."""
    claim = record.claim
    if (verdict.correctness, verdict.speed, verdict.failure) != (claim.correctness, claim.speed, claim.failure):
        return (
            f"recorded as {in_words(claim)} ({claim.reason}); judged again it is {in_words(verdict)} ({verdict.reason})"
        )
    if claim.interval is not None and verdict.interval is not None:
        apart = verdict.interval.low > claim.interval.high or verdict.interval.high < claim.interval.low
        return f"recorded {claim.reason}; judged again {verdict.reason}: the intervals do not meet" if apart else ""
    if verdict.speed is Speed.ESTIMATED and claim.ratio and verdict.ratio:
        apart = abs(verdict.ratio / claim.ratio - 1) > ESTIMATES_AGREE
        return f"recorded {claim.reason}; estimated again {verdict.reason}" if apart else ""
    return ""


def _surroundings(record: Record, roots: Sequence[Path]) -> Path | None:
    """The folder of the user's that the file belongs into; None where none is there, and none is needed."""
    then = _recorded_folder(record, roots)
    if not record.package:
        return then
    here = [root.joinpath(*record.package) for root in roots]
    for folder in [then, *here] if then is not None else here:
        if (folder / "__init__.py").is_file():
            return folder
    raise JudgeRefused(
        f"{record.opened.task.source_file.name} lies in the package {'.'.join(record.package)}, which is neither in "
        f"{record.folder} as it was nor under {' or '.join(map(str, roots)) or 'any other folder given'}. "
        f"Run `kernel-evolve verify` in the folder that holds {record.package[0]}/."
    )


def _recorded_folder(record: Record, roots: Sequence[Path]) -> Path | None:
    """Where the file lay, if that may be used; None where it may not be, or is not there.

    What lies there is executed, and the folder is only a claim of the record. It is believed inside ``roots``, where
    the user is, and elsewhere where the two files that the record holds still lie there as it has them.
    """
    folder = Path(record.folder)
    if not record.folder or not folder.is_dir():
        return None
    inside = any(folder.resolve().is_relative_to(root.resolve()) for root in roots)
    return folder if inside or _is_as_recorded(record, folder) else None


def _is_as_recorded(record: Record, folder: Path) -> bool:
    opened = record.opened
    texts = ((opened.task.source_file, opened.source), (opened.task.task_file, opened.task_text))
    try:
        return all(text_of((folder / name).read_bytes(), name.name) == text for name, text in texts)
    except (OSError, NotText):
        return False


def _with_place(refusal: JudgeRefused, record: Record, around: Path | None) -> JudgeRefused:
    """The refusal, and what was left alone that the task may need."""
    if around is not None or not Path(record.folder).is_dir() or not record.folder:
        return refusal
    return JudgeRefused(
        f"{refusal} What lies in {record.folder} was left alone: {record.opened.task.source_file.name} and "
        f"{record.opened.task.task_file.name} are not there as in the evidence. If the task needs what is beside "
        "them, run `kernel-evolve verify` in that folder."
    )


def _written(record: Record, root: Path, around: Path | None) -> Task:
    """The task's two files, as they were, under ``root`` in their package, among links to what is ``around`` them."""
    then = record.opened.task
    folder = root.joinpath(*record.package)
    folder.mkdir(parents=True)
    task_file, source_file = folder / then.task_file.name, folder / then.source_file.name
    task_file.write_text(record.opened.task_text, encoding="utf-8")
    source_file.write_text(record.opened.source, encoding="utf-8")
    if around is not None:
        _link(around, folder, levels=1 + len(record.package))
    return replace(then, task_file=task_file, source_file=source_file)


def _link(around: Path, folder: Path, levels: int) -> None:
    """Links in ``folder`` to what it lacks of ``around``; the same in the folders above, ``levels`` in all."""
    for _ in range(levels):
        for entry in around.iterdir():
            if not entry.name.startswith(".") and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
        around, folder = around.parent, folder.parent
