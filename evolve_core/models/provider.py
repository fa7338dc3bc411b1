"""What a language model is to the rest: a request goes in, a completion or a typed failure comes out.

Failures of a model are values, like failures of candidates: a model that is down, slow or unwilling costs its answer
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from evolve_core.errors import KernelEvolveError


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation to continue. ``messages`` end with the user's; ``max_tokens`` bounds the answer."""

    system: str
    messages: tuple[Message, ...]
    max_tokens: int = 8192


class StopReason(StrEnum):
    END = "end"
    LENGTH = "length"
    """The answer was cut off at ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer and what it took. ``cost_usd`` is None where the model's price is not known, 0 for a local one."""

    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    latency_s: float
    stop: StopReason = StopReason.END


class FailureKind(StrEnum):
    RATE_LIMITED = "rate-limited"
    SERVER_ERROR = "server-error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """Nothing answers at the address."""
    REFUSED = "refused"
    """The model declined."""
    MALFORMED = "malformed"
    """The server answered something that is no answer."""
    AUTH = "auth"
    """The key is wrong, or may not use this model."""
    REJECTED = "rejected"
    """The server does not take this request: an unknown model, a prompt too long."""

    @property
    def is_lasting(self) -> bool:
        """Asking again in this run cannot help."""
        return self in (FailureKind.AUTH, FailureKind.REJECTED)


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """Why there is no completion. ``message`` is one sentence for people and never holds a key.

    ``cost_usd`` and tokens are what it took all the same: a refusal is paid for.
    """

    kind: FailureKind
    message: str
    latency_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, as the user gave them: prices change, so none are built in."""

    input_usd: float
    output_usd: float

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6


FREE = Price(0.0, 0.0)


class Provider(Protocol):
    """One model behind one API. ``complete`` blocks, is safe to call from several threads, and returns within
    its timeout and retries; nothing is raised for what a server or a model may do."""

    @property
    def name(self) -> str:
        """``anthropic:NAME``, ``openai:NAME``, ``local:NAME``."""
        ...

    @property
    def model(self) -> str: ...

    @property
    def price(self) -> Price | None: ...

    def complete(self, request: Request) -> Completion | ModelFailure: ...

    def close(self) -> None: ...


class MissingExtra(KernelEvolveError):
    """The SDK of a provider is not installed."""

    def __init__(self, sdk: str) -> None:
        super().__init__(
            f"The language models need the Python package {sdk}, which is not installed: "
            "pip install 'kernel-evolve[models]'"
        )
