"""What both SDKs have in common: how they are found, how they are tuned, and what their exceptions mean."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import Any

from evolve_core.knowledge.redact import redact
from evolve_core.models.provider import FailureKind, MissingExtra, ModelFailure

_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for an answer and how often to ask again after 429, 5xx, or a lost connection.

    The SDKs wait 0.5 s, then twice as long each time up to 8 s, or as long as the server's Retry-After says.
    """

    timeout_s: float = 120.0
    retries: int = 2


def load(name: str) -> Any:
    """The SDK's module, imported at first use: it costs about a second. Errors: ``MissingExtra``."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingExtra(name) from None


def caught(sdk: Any) -> tuple[type[Exception], ...]:
    """Everything that a server may make the SDK raise. A body that is not JSON comes up as the decoder's own error."""
    return (sdk.APIError, json.JSONDecodeError, UnicodeDecodeError)


def failure_from(sdk: Any, error: Exception, secret: str, latency_s: float) -> ModelFailure:
    """The typed failure behind an exception of ``caught``; neither ``secret`` nor anything like a key is repeated."""
    text = str(error).replace(secret, "REDACTED") if secret else str(error)
    text = " ".join(redact(text).split())[:_LONGEST_MESSAGE]
    return ModelFailure(_kind(sdk, error), text, latency_s)


def _kind(sdk: Any, error: Exception) -> FailureKind:
    # The order matters: a timeout is a connection error to the SDKs, and most of these are status errors.
    if isinstance(error, sdk.APITimeoutError):
        return FailureKind.TIMEOUT
    if isinstance(error, sdk.APIConnectionError):
        return FailureKind.UNREACHABLE
    if isinstance(error, sdk.APIStatusError):
        return _kind_of_status(error.status_code)
    return FailureKind.MALFORMED


def _kind_of_status(status: int) -> FailureKind:
    match status:
        case 401 | 402 | 403:
            return FailureKind.AUTH
        case 429:
            return FailureKind.RATE_LIMITED
        case 408:
            return FailureKind.TIMEOUT
        case _ if status >= 500:
            return FailureKind.SERVER_ERROR
        case _:
            return FailureKind.REJECTED
