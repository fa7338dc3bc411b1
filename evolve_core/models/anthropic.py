"""Claude and whatever else speaks the Anthropic Messages API."""

from __future__ import annotations

import time
from typing import Any

from evolve_core.models import sdk
from evolve_core.models.provider import (
    Completion,
    FailureKind,
    ModelFailure,
    Price,
    Request,
    StopReason,
)


class Anthropic:
    """A provider over the ``anthropic`` SDK. Errors: ``MissingExtra``."""

    def __init__(
        self,
        model: str,
        api_key: str,
        base_url: str | None = None,
        price: Price | None = None,
        patience: sdk.Patience | None = None,
    ) -> None:
        self._sdk = sdk.load("anthropic")
        self._secret = api_key
        patience = patience or sdk.Patience()
        self._client = self._sdk.Anthropic(
            api_key=api_key, base_url=base_url, timeout=patience.timeout_s, max_retries=patience.retries
        )
        self.model = model
        self.name = f"anthropic:{model}"
        self.price = price

    def close(self) -> None:
        self._client.close()

    def complete(self, request: Request) -> Completion | ModelFailure:
        started = time.monotonic()
        try:
            message = self._client.messages.create(
                model=self.model,
                max_tokens=request.max_tokens,
                system=request.system,
                messages=[{"role": m.role.value, "content": m.text} for m in request.messages],
            )
        except sdk.caught(self._sdk) as error:
            return sdk.failure_from(self._sdk, error, self._secret, time.monotonic() - started)
        return self._answer(message, time.monotonic() - started)

    def _answer(self, message: Any, latency_s: float) -> Completion | ModelFailure:
        content = getattr(message, "content", None)
        if not isinstance(content, list):
            return ModelFailure(FailureKind.MALFORMED, "the answer has no content", latency_s)
        text = "".join(block.text for block in content if getattr(block, "type", None) == "text" and block.text)
        read, written = _tokens(message, "input_tokens"), _tokens(message, "output_tokens")
        cost = self.price.cost_usd(read, written) if self.price else None
        stop = getattr(message, "stop_reason", None)
        if stop == "refusal":
            return ModelFailure(
                FailureKind.REFUSED, text or "the model declined to answer", latency_s, read, written, cost
            )
        if not text.strip():
            return ModelFailure(FailureKind.MALFORMED, "the answer is empty", latency_s, read, written, cost)
        cut = stop in ("max_tokens", "model_context_window_exceeded")
        return Completion(text, read, written, cost, latency_s, StopReason.LENGTH if cut else StopReason.END)


def _tokens(message: Any, name: str) -> int:
    count = getattr(getattr(message, "usage", None), name, None)
    return count if isinstance(count, int) else 0
