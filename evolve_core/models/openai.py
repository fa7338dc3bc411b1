"""OpenAI, and every server that speaks its Chat Completions API: vLLM, Ollama, llama.cpp."""

from __future__ import annotations

import time
from typing import Any

from evolve_core.models import sdk
from evolve_core.models.provider import (
    FREE,
    Completion,
    FailureKind,
    ModelFailure,
    Price,
    Request,
    StopReason,
)


class OpenAI:
    """A provider over the ``openai`` SDK. Errors: ``MissingExtra``.

    ``api_key`` None means a server of the user's own: it gets no key of anybody's, costs nothing, and is asked in the
    older dialect (``max_tokens``) that all of them know.
    """

    def __init__(
        self,
        model: str,
        api_key: str | None,
        base_url: str | None = None,
        price: Price | None = None,
        patience: sdk.Patience | None = None,
    ) -> None:
        self._sdk = sdk.load("openai")
        self._secret = api_key or ""
        patience = patience or sdk.Patience()
        self._client = self._sdk.OpenAI(
            api_key=api_key or "none",
            base_url=base_url,
            timeout=patience.timeout_s,
            max_retries=patience.retries,
        )
        self._limit = "max_completion_tokens" if api_key else "max_tokens"
        self.model = model
        self.name = f"{'openai' if api_key else 'local'}:{model}"
        self.price = price if api_key else FREE

    def close(self) -> None:
        self._client.close()

    def complete(self, request: Request) -> Completion | ModelFailure:
        started = time.monotonic()
        messages = [{"role": "system", "content": request.system}]
        messages += [{"role": m.role.value, "content": m.text} for m in request.messages]
        limit = {self._limit: request.max_tokens}
        try:
            answer = self._client.chat.completions.create(model=self.model, messages=messages, **limit)
        except sdk.caught(self._sdk) as error:
            return sdk.failure_from(self._sdk, error, self._secret, time.monotonic() - started)
        return self._answer(answer, time.monotonic() - started)

    def _answer(self, answer: Any, latency_s: float) -> Completion | ModelFailure:
        choices = getattr(answer, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        if message is None:
            return ModelFailure(FailureKind.MALFORMED, "the answer has no choices", latency_s)
        read, written = _tokens(answer, "prompt_tokens"), _tokens(answer, "completion_tokens")
        cost = self.price.cost_usd(read, written) if self.price else None
        finish = getattr(choice, "finish_reason", None)
        refusal = getattr(message, "refusal", None)
        if refusal or finish == "content_filter":
            words = refusal if isinstance(refusal, str) and refusal else "the model declined to answer"
            return ModelFailure(FailureKind.REFUSED, words, latency_s, read, written, cost)
        text = getattr(message, "content", None)
        if not isinstance(text, str) or not text.strip():
            return ModelFailure(FailureKind.MALFORMED, "the answer is empty", latency_s, read, written, cost)
        stop = StopReason.LENGTH if finish == "length" else StopReason.END
        return Completion(text, read, written, cost, latency_s, stop)


def _tokens(answer: Any, name: str) -> int:
    count = getattr(getattr(answer, "usage", None), name, None)
    return count if isinstance(count, int) else 0
