"""A run's winner gets the times of what the user would have without any kernel: lazily, because they cost a minute."""

from __future__ import annotations

from concurrent.futures import wait
from contextlib import closing
from dataclasses import asdict, replace

from evolve_core.journal.model import Control
from evolve_core.journal.reader import JournalReader
from evolve_core.judge.verdict import Speed
from evolve_core.propose.proposal import Judged
from evolve_core.search.loop import POLL_S, Search


def with_baselines(search: Search, winner: Judged) -> Judged:
    """The same winner, its verdict and evidence completed by the task's baselines and journaled.

    Only a measured winner gets any. Cancelling the run now gives them up and keeps the winner, which is confirmed.
    """
    if winner.verdict.speed is not Speed.FASTER:
        return winner
    future = search.judge.baselines()
    while not future.done():
        if search.journal.control(search.run_id) is Control.CANCEL:
            return winner
        wait([future], timeout=POLL_S)
    found = future.result()
    verdict = replace(winner.verdict, baselines=found.figures)
    with closing(JournalReader(search.journal.workspace)) as reader:
        evidence = reader.evidence(winner.candidate_id) or {}
    record = {**evidence, "verdict": asdict(verdict), "baselines": list(found.raw)}
    search.journal.add_verdict(winner.candidate_id, verdict, record)
    return replace(winner, verdict=verdict)
