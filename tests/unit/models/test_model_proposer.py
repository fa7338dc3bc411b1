"""The proposer ``model``: real SDKs, a real server on loopback, a real file to improve."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Answer, Loopback, broken

from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Trust, Verdict, WorkloadVerdict
from evolve_core.models.registry import providers_from
from evolve_core.models.sdk import Patience
from evolve_core.propose.model import prompt
from evolve_core.propose.model.proposer import FAILURES_UNTIL_OFF, ModelProposer
from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.source.model import Language
from evolve_core.task.model import Task, TaskKind

EXAMPLES = Path(__file__).parents[3] / "examples"
SOFTMAX = (EXAMPLES / "softmax.py").read_text()
KEY = "sk-" + "test-abcdefghijklmnop"
ENVIRONMENT = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
OLD, NEW = "tl.exp(x)", "tl.exp2(x * 1.4426950408889634)"
EDIT = f"<<<<<<< SEARCH\n    numerator = {OLD}\n=======\n    numerator = {NEW}\n>>>>>>> REPLACE"
GOOD = f"SUMMARY: exp2 instead of exp\n{EDIT}"
OTHERS = [Answer(GOOD.replace("889634", str(n))) for n in range(100000, 100040)]
BAD = GOOD.replace("    numerator = tl.exp(x)\n=======", "    no such line\n=======")
TASK = Task(
    task_file=EXAMPLES / "softmax.evolve.py",
    source_file=EXAMPLES / "softmax.py",
    kind=TaskKind.ENTRY,
    entry="softmax",
    kernels=("softmax_kernel",),
    has_reference=True,
    has_domain=True,
)
OWN = Judged(
    "",
    Proposal(SOFTMAX, "as written", ()),
    Verdict(Correctness.CORRECT, Speed.SAME, Trust.HOST_CODE, Stage.SCREENING, "as written", ratio=1.0),
)
CHILD = Judged(
    "c3",
    Proposal(SOFTMAX.replace("BLOCK=BLOCK)", "BLOCK=BLOCK, num_warps=8)"), "num_warps 8", (Step("tune", "launch"),)),
    Verdict(
        Correctness.CORRECT,
        Speed.ESTIMATED,
        Trust.KERNEL_ONLY,
        Stage.SCREENING,
        "estimated",
        ratio=1.2,
        workloads=(WorkloadVerdict("w", "x: float32[4096, 1024]", candidate_us=18.2, ratio=1.2, estimated=True),),
    ),
)
WRONG = Judged(
    "c4",
    Proposal(SOFTMAX, "drop the mask", (Step("model", "m"),)),
    Verdict(
        Correctness.WRONG,
        Speed.UNMEASURED,
        Trust.KERNEL_ONLY,
        Stage.SCREENING,
        "max error 3.1 on x: float32[7, 33], seed 4, see /home/ada/run/log",
    ),
)
SITUATION = Situation(TASK, SOFTMAX, "sm_90", elite=(OWN,))
Start = Callable[..., ModelProposer]


class Said(list[str]):
    def __call__(self, message: str) -> None:
        self.append(message)


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[ModelProposer] = []

    def do(spec: str, width: int = 1, **more: object) -> ModelProposer:
        patience = Patience(timeout_s=10.0, retries=0)
        providers, _ = providers_from(spec, ENVIRONMENT, patience)
        proposer = ModelProposer(providers, Language.TRITON, seed=1, width=width, **more)  # type: ignore[arg-type]
        made.append(proposer)
        return proposer

    yield do
    for proposer in made:
        proposer.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ask "):
            thread.join(10)


def next_round(proposer: ModelProposer, situation: Situation = SITUATION) -> list[Proposal]:
    """What the proposer has after one more conversation has ended."""
    assert proposer.wait(20)
    return list(proposer.propose(situation))


def test_a_proposal_is_a_whole_file_with_its_history(start: Start) -> None:
    with Loopback([Answer(GOOD)]) as server:
        proposer = start(f"anthropic:claude-x@{server.url}=3/15")
        assert list(proposer.propose(replace(SITUATION, elite=(CHILD,)))) == []
        (proposal,) = next_round(proposer)
        assert proposal.source == CHILD.proposal.source.replace(OLD, NEW)
        assert proposal.summary == "exp2 instead of exp"
        assert proposal.parents == ("c3",)
        assert proposal.recipe == (Step("tune", "launch"), Step("model", "claude-x", (("provider", "anthropic"),)))
        assert proposer.usage.cost_usd == pytest.approx(0.006)


def test_asking_never_waits_for_a_model(start: Start) -> None:
    silent = [replace(answer, hangs=True) for answer in OTHERS[:3]]
    with Loopback([*silent, *OTHERS[3:]]) as server:
        proposer = start(f"openai:m@{server.url}/v1", width=3)
        for _ in range(5):
            assert list(proposer.propose(SITUATION)) == []
        assert proposer.pending == 3
        assert not proposer.wait(0.01)
        server.release()
        found: list[Proposal] = []
        while len(found) < 3:
            found += next_round(proposer)
        assert len(server.requests) >= 3


def test_an_answer_that_does_not_apply_is_repaired_once(start: Start) -> None:
    with Loopback([Answer(BAD), Answer(GOOD)]) as server:
        proposer = start(f"anthropic:m@{server.url}")
        list(proposer.propose(SITUATION))
        (proposal,) = next_round(proposer)
    assert proposal.source == SOFTMAX.replace(OLD, NEW)
    assert dict(proposal.recipe[-1].parameters) == {"provider": "anthropic", "repaired": "yes"}
    first, second = server.requests[:2]
    assert [m["role"] for m in second.body["messages"]] == ["user", "assistant", "user"]
    assert second.body["messages"][0] == first.body["messages"][0]
    assert "no such lines at 'no such line'" in second.body["messages"][2]["content"]
    assert proposer.usage.requests == 2


def test_a_second_bad_answer_is_the_end_of_that_conversation(start: Start) -> None:
    with Loopback([Answer(BAD)]) as server:
        proposer = start(f"anthropic:m@{server.url}")
        list(proposer.propose(SITUATION))
        assert proposer.wait(20)
        assert len(server.requests) == 2
        assert list(proposer.propose(SITUATION)) == []


def test_a_model_that_only_fails_is_dropped_and_said_once(start: Start) -> None:
    said = Said()
    with Loopback([broken(500)]) as server:
        proposer = start(f"local:m@{server.url}/v1", say=said)
        list(proposer.propose(SITUATION))
        while proposer.pending:
            assert next_round(proposer) == []
        assert len(server.requests) == FAILURES_UNTIL_OFF
    assert len(said) == 1
    assert "local:m is off for this run: 5 answers in a row could not be used" in said[0]
    assert "server-error" in said[0]
    assert proposer.usage.failed == FAILURES_UNTIL_OFF


def test_a_wrong_key_turns_that_model_off_at_once_and_the_other_goes_on(start: Start) -> None:
    said = Said()
    with Loopback([broken(401, f"bad key {KEY}")]) as closed, Loopback(OTHERS) as open_:
        proposer = start(f"openai:shut@{closed.url}/v1,local:open@{open_.url}/v1", say=said)
        list(proposer.propose(SITUATION))
        found: list[Proposal] = []
        while len(found) < 3:
            found += next_round(proposer)
        assert len(closed.requests) == 1
    assert {p.recipe[-1].rule for p in found} == {"open"}
    assert len(said) == 1 and said[0].startswith("openai:shut is off for this run (auth)")
    assert KEY not in said[0]


def test_a_rate_limit_is_a_rest_and_not_an_end(start: Start) -> None:
    now = [0.0]
    with Loopback([broken(429), Answer(GOOD)]) as server:
        proposer = start(f"local:m@{server.url}/v1", clock=lambda: now[0])
        list(proposer.propose(SITUATION))
        assert next_round(proposer) == []
        assert proposer.pending == 1, "a rest is not an end: the search waits for it"
        now[0] = 31.0
        assert proposer.pending == 0
        list(proposer.propose(SITUATION))
        assert len(next_round(proposer)) == 1


def test_nothing_is_asked_beyond_the_budget(start: Start) -> None:
    with Loopback([Answer(GOOD)]) as server:
        proposer = start(f"anthropic:m@{server.url}=3/15", dollars=0.01)
        list(proposer.propose(SITUATION))
        while proposer.pending:
            next_round(proposer)
        assert len(server.requests) == 2
    assert proposer.usage.cost_usd == pytest.approx(0.012)


def test_a_model_that_repeats_itself_is_dropped(start: Start) -> None:
    said = Said()
    with Loopback([Answer(GOOD)]) as server:
        proposer = start(f"local:m@{server.url}/v1", say=said)
        list(proposer.propose(SITUATION))
        found: list[Proposal] = []
        while proposer.pending:
            found += next_round(proposer)
        assert len(server.requests) == 1 + FAILURES_UNTIL_OFF
    assert len(found) == 1
    assert len(said) == 1 and "repeats a candidate that was proposed before" in said[0]


def test_what_others_proposed_is_not_proposed_again(start: Start) -> None:
    with Loopback([Answer(GOOD), *OTHERS]) as server:
        proposer = start(f"local:m@{server.url}/v1")
        proposer.tell(replace(CHILD, proposal=replace(CHILD.proposal, source=SOFTMAX.replace(OLD, NEW) + "# more\n")))
        list(proposer.propose(SITUATION))
        assert next_round(proposer) == []
        assert len(next_round(proposer)) == 1


def test_a_refusal_costs_and_gives_nothing(start: Start) -> None:
    with Loopback([Answer(refusal="No.")]) as server:
        proposer = start(f"openai:m@{server.url}/v1=3/15")
        list(proposer.propose(SITUATION))
        assert next_round(proposer) == []
    assert proposer.usage.cost_usd == pytest.approx(0.006)


def test_a_cut_off_answer_is_asked_for_again_shorter(start: Start) -> None:
    with Loopback([Answer(GOOD[:40], stop="length"), Answer(GOOD)]) as server:
        proposer = start(f"local:m@{server.url}/v1")
        list(proposer.propose(SITUATION))
        assert len(next_round(proposer)) == 1
    assert "cut off at the limit" in server.requests[1].body["messages"][-1]["content"]


def test_closing_does_not_wait_for_a_server_that_hangs(start: Start) -> None:
    with Loopback([Answer(GOOD, hangs=True)]) as server:
        proposer = start(f"local:m@{server.url}/v1")
        list(proposer.propose(SITUATION))
        while not server.requests:
            time.sleep(0.005)
        proposer.close()
        assert list(proposer.propose(SITUATION)) == []
        assert proposer.pending == 1
        assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("ask "))


def message(situation: Situation, parent: Judged) -> str:
    import random

    return prompt.proposal_request(situation, parent, Language.TRITON, random.Random(1)).messages[0].text


def test_the_prompt_says_what_is_known_and_what_failed() -> None:
    text = message(replace(SITUATION, judged=(CHILD, WRONG)), CHILD)
    assert "Target: sm_90." in text and "Entry: softmax." in text
    assert "num_warps=8" in text
    assert "correct, 1.20× the speed of the user's kernel (estimated)" in text
    assert "- x: float32[4096, 1024]: 18.2 µs estimated, 1.20× estimated" in text
    assert "- drop the mask: wrong: max error 3.1 on x: float32[7, 33], seed 4, see PATH" in text
    assert "measured" not in text


def test_the_prompt_for_the_users_own_kernel_claims_nothing_about_it() -> None:
    text = message(SITUATION, OWN)
    assert "the user's own kernel: correct by definition" in text
    assert "Tried before" not in text


def test_a_screening_number_is_not_called_more_than_it_is() -> None:
    verdict = replace(CHILD.verdict, speed=Speed.FASTER, workloads=())
    assert "measured once, in screening" in message(SITUATION, replace(CHILD, verdict=verdict))


def test_a_failure_kind_is_named_in_the_prompt() -> None:
    verdict = replace(WRONG.verdict, correctness=Correctness.UNVERIFIED, failure=Failure.COMPILE_ERROR)
    text = message(replace(SITUATION, judged=(replace(WRONG, verdict=verdict),)), OWN)
    assert "- drop the mask: compile-error: max error" in text


def test_neither_keys_nor_paths_of_the_file_are_sent() -> None:
    leaky = SOFTMAX + f'\ntoken = "{KEY}"\nlog = "/home/ada/project/log.txt"\n'
    parent = replace(OWN, proposal=Proposal(leaky, "as written", ()))
    text = message(SITUATION, parent)
    assert KEY not in text and "ada" not in text


def test_of_a_long_file_only_the_kernels_and_their_hosts_are_sent(start: Start) -> None:
    padding = "\n".join(f"def unrelated_{n}():\n    return {n}\n" for n in range(500))
    parent = replace(OWN, proposal=Proposal(SOFTMAX + padding, "as written", ()))
    text = message(SITUATION, parent)
    assert "unrelated" not in text
    assert "def softmax_kernel" in text and "def softmax(" in text


def test_a_kernel_too_long_for_a_prompt_turns_models_off_once(start: Start) -> None:
    body = "\n".join(f"    y{n} = x + {n}" for n in range(4000))
    long = SOFTMAX.replace("    numerator =", f"{body}\n    numerator =")
    said = Said()
    with Loopback([Answer(GOOD)]) as server:
        proposer = start(f"local:m@{server.url}/v1", say=said)
        situation = replace(SITUATION, elite=(replace(OWN, proposal=Proposal(long, "as written", ())),))
        for _ in range(3):
            assert list(proposer.propose(situation)) == []
        assert server.requests == []
    assert len(said) == 1 and "more than the 40000 that are sent" in said[0]
