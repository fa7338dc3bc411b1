"""The providers, through the real SDKs, against a real HTTP server that misbehaves on demand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from loopback import Answer, Loopback, broken

from evolve_core.errors import UsageError
from evolve_core.models import sdk
from evolve_core.models.provider import (
    Completion,
    FailureKind,
    Message,
    MissingExtra,
    ModelFailure,
    Price,
    Provider,
    Request,
    Role,
    StopReason,
)
from evolve_core.models.registry import OFF, ModelSpec, parse_models, providers_from
from evolve_core.models.sdk import Patience

KEY = "sk-" + "test-abcdefghijklmnop"
ENVIRONMENT = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
REQUEST = Request("You write kernels.", (Message(Role.USER, "Make it faster."),), max_tokens=512)
Connect = Callable[..., Provider]


@pytest.fixture(params=["anthropic", "openai", "local"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(kind: str) -> Iterator[Connect]:
    """Connects the real provider of this kind to a server, and closes it at the end."""
    opened: list[Provider] = []

    def do(server: Loopback, timeout_s: float = 20.0, price: str = "") -> Provider:
        base = server.url if kind == "anthropic" else f"{server.url}/v1"
        found, _ = providers_from(f"{kind}:scripted@{base}{price}", ENVIRONMENT, Patience(timeout_s, retries=2))
        opened.extend(found)
        return found[0]

    yield do
    for provider in opened:
        provider.close()


def test_an_answer_comes_with_what_it_took(connect: Connect, kind: str) -> None:
    with Loopback([Answer("Use exp2.")]) as server:
        answer = connect(server, price="=3/15").complete(REQUEST)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("Use exp2.", 1000, 200)
    assert answer.cost_usd == pytest.approx(0.0 if kind == "local" else 0.006)
    assert answer.stop is StopReason.END
    assert answer.latency_s > 0


def test_the_request_is_what_the_api_wants(connect: Connect, kind: str) -> None:
    with Loopback([Answer("ok")]) as server:
        connect(server).complete(REQUEST)
    (request,) = server.requests
    assert request.body["model"] == "scripted"
    assert request.body["messages"][-1] == {"role": "user", "content": "Make it faster."}
    match kind:
        case "anthropic":
            assert request.path == "/v1/messages"
            # Older SDKs send the key as x-api-key, newer ones as a bearer token.
            sent = request.headers.get("x-api-key") or request.headers["authorization"].removeprefix("Bearer ")
            assert (sent, request.body["max_tokens"]) == (KEY, 512)
            assert request.body["system"] == "You write kernels."
        case "openai":
            assert request.path == "/v1/chat/completions"
            assert (request.headers["authorization"], request.body["max_completion_tokens"]) == (f"Bearer {KEY}", 512)
        case _:
            assert request.body["max_tokens"] == 512


def test_a_server_of_ones_own_is_never_sent_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Loopback([Answer("ok")]) as server:
        (provider,), _ = providers_from(f"local:m@{server.url}/v1", ENVIRONMENT)
        provider.complete(REQUEST)
        provider.close()
    (request,) = server.requests
    assert KEY not in str(request.headers)


def test_an_unknown_price_is_no_cost_of_zero(connect: Connect, kind: str) -> None:
    with Loopback([Answer("ok")]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, Completion)
    assert answer.cost_usd == (0.0 if kind == "local" else None)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_busy_server_is_asked_again(connect: Connect, status: int) -> None:
    with Loopback([broken(status), broken(status), Answer("third time")]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, Completion) and answer.text == "third time"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "failure", "attempts"),
    [
        (429, FailureKind.RATE_LIMITED, 3),
        (500, FailureKind.SERVER_ERROR, 3),
        (401, FailureKind.AUTH, 1),
        (403, FailureKind.AUTH, 1),
        (404, FailureKind.REJECTED, 1),
        (400, FailureKind.REJECTED, 1),
    ],
)
def test_asking_again_ends(connect: Connect, status: int, failure: FailureKind, attempts: int) -> None:
    with Loopback([broken(status)]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is failure
    assert len(server.requests) == attempts


def test_no_failure_repeats_the_key(connect: Connect) -> None:
    with Loopback([broken(401, f"Incorrect API key provided: {KEY}. Also sk-other-abcdefghijklmnop")]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert "sk-" not in answer.message and "Incorrect API key" in answer.message


def test_a_server_that_hangs_is_left(connect: Connect) -> None:
    with Loopback([Answer("late", hangs=True)]) as server:
        answer = connect(server, timeout_s=0.2).complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is FailureKind.TIMEOUT


def test_a_server_that_is_not_there_is_unreachable(connect: Connect) -> None:
    with Loopback([Answer("gone")]) as server:
        provider = connect(server)
    answer = provider.complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is FailureKind.UNREACHABLE


@pytest.mark.parametrize(
    "body", [b"<html>proxy login</html>", b"{", b"{}", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"choices": []}']
)
def test_what_is_no_answer_is_malformed(connect: Connect, body: bytes) -> None:
    with Loopback([Answer(body=body)]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is FailureKind.MALFORMED


def test_an_empty_answer_is_malformed_and_paid_for(connect: Connect, kind: str) -> None:
    with Loopback([Answer("")]) as server:
        answer = connect(server, price="=3/15").complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is FailureKind.MALFORMED
    assert answer.cost_usd == pytest.approx(0.0 if kind == "local" else 0.006)


def test_a_refusal_is_a_refusal(connect: Connect) -> None:
    with Loopback([Answer(refusal="I would rather not.")]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, ModelFailure)
    assert answer.kind is FailureKind.REFUSED


def test_an_answer_that_was_cut_off_says_so(connect: Connect, kind: str) -> None:
    stop = "max_tokens" if kind == "anthropic" else "length"
    with Loopback([Answer("half a ker", stop=stop)]) as server:
        answer = connect(server).complete(REQUEST)
    assert isinstance(answer, Completion)
    assert answer.stop is StopReason.LENGTH


def test_models_are_off_until_they_are_named() -> None:
    assert providers_from(None, ENVIRONMENT) == ([], [OFF])
    assert providers_from("", ENVIRONMENT) == ([], [OFF])


def test_a_model_without_its_key_is_off_and_the_others_stay() -> None:
    found, notices = providers_from(
        "anthropic:a,openai:b,openai:b,local:c@http://127.0.0.1:1/v1", {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": KEY}
    )
    assert [p.name for p in found] == ["anthropic:a", "local:c"]
    assert notices[1] == "openai:b is off: OPENAI_API_KEY is not set."
    assert notices[0].startswith("The price of anthropic:a is not known")
    assert len(notices) == 2
    for provider in found:
        provider.close()


def test_models_are_read_with_address_and_price() -> None:
    assert parse_models("local:qwen2.5-coder:7b@http://127.0.0.1:11434/v1, anthropic:claude-x=3/15.5") == (
        ModelSpec("local", "qwen2.5-coder:7b", "http://127.0.0.1:11434/v1", None),
        ModelSpec("anthropic", "claude-x", None, Price(3.0, 15.5)),
    )


@pytest.mark.parametrize("text", ["gpt", "google:x", "openai:", "anthropic:x=3", "local:x@ftp://h", "openai:x=1.2.3/4"])
def test_what_is_no_model_is_explained(text: str) -> None:
    with pytest.raises(UsageError, match=r"no model|no price"):
        parse_models(text)


def test_a_local_model_needs_an_address() -> None:
    with pytest.raises(UsageError, match="needs the server's address"):
        parse_models("local:llama")


def test_a_missing_sdk_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'kernel-evolve\[models\]'"):
        sdk.load("no_such_sdk_of_a_model")


def test_a_missing_sdk_turns_its_model_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    found, notices = providers_from("anthropic:a", ENVIRONMENT)
    assert found == []
    assert "kernel-evolve[models]" in notices[0]


def test_no_sdk_is_imported_before_a_model_is_asked_for() -> None:
    code = (
        "import sys; from evolve_core.models.registry import providers_from; import evolve_core.propose.model.proposer;"
        "providers_from('anthropic:a', {}); print([m for m in ('anthropic', 'openai') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
