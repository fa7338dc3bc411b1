"""The proposer ``model``: asks language models for candidates, without ever making the search wait for one.

Each conversation runs in a thread of its own and does nothing but talk and read the answer; everything that is
decided is decided in the search's thread, when it asks. The threads are daemons: a server that hangs cannot keep a
runner alive.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evolve_core.models.provider import Completion, FailureKind, ModelFailure, Provider, Request, StopReason
from evolve_core.propose.model.answer import Candidate, read_answer
from evolve_core.propose.model.blocks import Problem
from evolve_core.propose.model.prompt import SourceTooLong, proposal_request, repair_request
from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.source.digest import source_digest
from evolve_core.source.model import Language

FAILURES_UNTIL_OFF = 5
"""So many conversations in a row without a candidate, and a model is not asked again in this run."""

RATE_LIMIT_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the models took so far. ``cost_usd`` counts what has a known price; ``unpriced`` requests have none."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Seat:
    """One provider's standing in this run."""

    provider: Provider
    off: bool = False
    failures_in_a_row: int = 0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class _Talk:
    """What a conversation led to: a candidate, or why not; and every answer on the way."""

    seat: _Seat
    parent: Judged
    answers: tuple[Completion | ModelFailure, ...]
    result: Candidate | Problem
    repaired: bool = False


class ModelProposer:
    """Keeps up to ``width`` conversations going and yields what they have led to.

    ``say`` is told, once each, what the user should know: a key that is wrong, a model that gives nothing. The search
    asks ``propose`` again whenever it likes; while ``pending`` is not 0 something may still come, and ``wait`` waits
    for it. ``close`` at the end.
    """

    name = "model"

    def __init__(
        self,
        providers: Sequence[Provider],
        language: Language,
        seed: int,
        width: int = 2,
        dollars: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seats = [_Seat(provider) for provider in providers]
        self._language = language
        self._draw = random.Random(seed)
        self._width = width
        self._dollars = dollars
        self._say = say
        self._clock = clock
        self._finished: queue.SimpleQueue[_Talk | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._known: set[str] = set()
        self._turn = 0
        self._in_flight = 0
        self._closed = False
        self._lock = threading.Lock()
        self._talking = 0
        self.usage = Usage()

    @property
    def pending(self) -> int:
        """Conversations that may still lead to a candidate, and models that will be asked again after a rest."""
        now = self._clock()
        resting = sum(not seat.off and seat.not_before > now for seat in self._seats) if not self._closed else 0
        return self._in_flight + resting

    def wait(self, timeout_s: float) -> bool:
        """Wait until a conversation has ended; False if none did in time, or none is going on."""
        return self._in_flight > 0 and self._ready.wait(timeout_s)

    def propose(self, situation: Situation) -> Iterator[Proposal]:
        """What has become ready, after which new conversations are started. Never waits."""
        self._ready.clear()
        self._known.add(source_digest(situation.source, self._language))
        while not self._finished.empty():
            proposal = self._take(self._finished.get())
            if proposal is not None:
                yield proposal
        self._start(situation)

    def tell(self, judged: Judged) -> None:
        self._known.add(source_digest(judged.proposal.source, self._language))

    def close(self) -> None:
        """Start nothing more, and never wait. Conversations under way end with the process at the latest."""
        with self._lock:
            self._closed = True
            nobody_talks = self._talking == 0
        if nobody_talks:
            self._close_providers()

    def _close_providers(self) -> None:
        for seat in self._seats:
            seat.provider.close()

    def _take(self, talk: _Talk | None) -> Proposal | None:
        self._in_flight -= 1
        if talk is None:
            return None
        for answer in talk.answers:
            self._count(answer)
            self._note_failure(talk.seat, answer)
        result = self._unless_known(talk.result)
        if isinstance(result, Problem):
            self._note_fruitless(talk.seat, result)
            return None
        talk.seat.failures_in_a_row = 0
        parent, provider = talk.parent, talk.seat.provider
        parameters = (("provider", provider.name.partition(":")[0]), *((("repaired", "yes"),) if talk.repaired else ()))
        return Proposal(
            source=result.source,
            summary=result.summary or f"a rewrite by {provider.model}",
            recipe=(*parent.proposal.recipe, Step("model", provider.model, parameters)),
            parents=(parent.candidate_id,) if parent.candidate_id else (),
        )

    def _unless_known(self, result: Candidate | Problem) -> Candidate | Problem:
        """A model that repeats itself is as fruitless as one that fails, and costs as much."""
        if isinstance(result, Problem):
            return result
        digest = source_digest(result.source, self._language)
        if digest in self._known:
            return Problem("it repeats a candidate that was proposed before")
        self._known.add(digest)
        return result

    def _count(self, answer: Completion | ModelFailure) -> None:
        was = self.usage
        self.usage = Usage(
            requests=was.requests + 1,
            input_tokens=was.input_tokens + answer.input_tokens,
            output_tokens=was.output_tokens + answer.output_tokens,
            cost_usd=was.cost_usd + (answer.cost_usd or 0.0),
            unpriced=was.unpriced + (answer.cost_usd is None),
            failed=was.failed + isinstance(answer, ModelFailure),
        )

    def _note_failure(self, seat: _Seat, answer: Completion | ModelFailure) -> None:
        if isinstance(answer, Completion) or seat.off:
            return
        if answer.kind.is_lasting:
            seat.off = True
            self._say(f"{seat.provider.name} is off for this run ({answer.kind.value}): {answer.message}")
        elif answer.kind is FailureKind.RATE_LIMITED:
            seat.not_before = self._clock() + RATE_LIMIT_PAUSE_S

    def _note_fruitless(self, seat: _Seat, problem: Problem) -> None:
        seat.failures_in_a_row += 1
        if seat.failures_in_a_row >= FAILURES_UNTIL_OFF and not seat.off:
            seat.off = True
            self._say(
                f"{seat.provider.name} is off for this run: {seat.failures_in_a_row} answers in a row could not be "
                f"used, the last one because {problem.message}."
            )

    def _start(self, situation: Situation) -> None:
        while situation.elite and self._may_ask() and (seat := self._next_seat()) is not None:
            parent = self._choose_parent(situation.elite)
            try:
                request = proposal_request(situation, parent, self._language, self._draw)
            except SourceTooLong as error:
                self._closed = True
                self._say(f"Language models are off for this run: {error}.")
                return
            self._in_flight += 1
            with self._lock:
                self._talking += 1
            work = (seat, request, parent, situation.task.kernels)
            threading.Thread(target=self._talk, args=work, name=f"ask {seat.provider.name}", daemon=True).start()

    def _may_ask(self) -> bool:
        over_budget = self._dollars is not None and self.usage.cost_usd >= self._dollars
        return not (self._closed or over_budget) and self._in_flight < self._width

    def _next_seat(self) -> _Seat | None:
        """The providers take turns; one that is off, or resting after a rate limit, is passed over."""
        now = self._clock()
        for _ in self._seats:
            seat = self._seats[self._turn % len(self._seats)]
            self._turn += 1
            if not seat.off and seat.not_before <= now:
                return seat
        return None

    def _choose_parent(self, elite: Sequence[Judged]) -> Judged:
        """The best half of the time, else any of the elite: building on the best alone stops at its first hill."""
        return elite[0] if self._draw.random() < 0.5 else self._draw.choice(elite)

    def _talk(self, seat: _Seat, request: Request, parent: Judged, kernels: tuple[str, ...]) -> None:
        talk = None
        try:
            talk = _conversation(seat, request, parent, self._language, kernels)
        finally:
            # Whatever happened, the search must learn that this conversation is over.
            self._finished.put(talk)
            self._ready.set()
            with self._lock:
                self._talking -= 1
                last_after_close = self._closed and self._talking == 0
            if last_after_close:
                self._close_providers()


def _conversation(seat: _Seat, request: Request, parent: Judged, language: Language, kernels: tuple[str, ...]) -> _Talk:
    """One question, and one more if the answer cannot be used."""
    first = seat.provider.complete(request)
    result = _read(first, parent, language, kernels)
    if isinstance(first, ModelFailure) or isinstance(result, Candidate):
        return _Talk(seat, parent, (first,), result)
    second = seat.provider.complete(repair_request(request, first.text, result.message))
    return _Talk(seat, parent, (first, second), _read(second, parent, language, kernels), repaired=True)


def _read(
    answer: Completion | ModelFailure, parent: Judged, language: Language, kernels: tuple[str, ...]
) -> Candidate | Problem:
    if isinstance(answer, ModelFailure):
        return Problem(f"there was no answer ({answer.kind.value}: {answer.message})")
    result = read_answer(answer.text, parent.proposal.source, language, kernels)
    if isinstance(result, Problem) and answer.stop is StopReason.LENGTH:
        return Problem("it was cut off at the limit; answer with a smaller change")
    return result
