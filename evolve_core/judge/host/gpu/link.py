"""The conductor's end of the line to a bench: requests with deadlines, and every way to fail as one kind of value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .channel import BadMessage, Channel, PeerGone, PeerSilent

# The deadline of a launch is 10 × the user's own kernel within [50 ms, 10 s], plus what loading the kernels and moving
# the tensors may take.
_LAUNCH_FACTOR, _SHORTEST_S, _LONGEST_S = 10.0, 0.05, 10.0
_TRANSFER_S = 10.0
_MESSAGE_CHARACTERS = 2000


class BenchFailed(Exception):
    """The bench could not do what was asked. ``failure`` is the protocol's failure object."""

    def __init__(self, failure: dict[str, Any]) -> None:
        super().__init__(failure["message"])
        self.failure = failure


class BenchLink:
    """Asks the bench. ``workload`` and ``seed`` say what the current requests are about, for the failures."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.workload: str | None = None
        self.seed: int | None = None
        self._reference_s = 0.0

    def reference_took(self, seconds: float) -> None:
        """How long the user's own kernel took; the fastest call counts, because the first one compiles."""
        self._reference_s = min(seconds, self._reference_s) if self._reference_s else seconds

    def ask(
        self, request: dict[str, Any], timeout_s: float | None = None, meanwhile: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its answer; by default as long as a launch may take, counted from when
        ``meanwhile`` is done, which runs beside the bench. Raises ``BenchFailed``.
        """
        allowed_s = self._launch_s() if timeout_s is None else timeout_s
        try:
            self._channel.send(request)
            if meanwhile is not None:
                meanwhile()
            answer = self._channel.receive(allowed_s)
        except PeerSilent as silent:
            message = (
                f"no answer within {allowed_s:.0f} s: a kernel that never ends, or one slower by orders of magnitude"
            )
            raise self.failed("timeout", message) from silent
        except PeerGone as gone:
            raise self.failed("crash", "the process that ran the kernel ended") from gone
        except BadMessage as bad:
            raise self.failed("cheating", f"the bench process sent {bad}") from bad
        said = answer.get("failed")
        if said:
            raise self.failed(str(said.get("kind")), str(said.get("message")), said.get("file"), said.get("line"))
        return answer

    def failed(self, kind: str, message: str, file: str | None = None, line: int | None = None) -> BenchFailed:
        """A failure of the current workload, to be raised."""
        return BenchFailed(
            {
                "kind": kind,
                "message": message[:_MESSAGE_CHARACTERS],
                "file": file,
                "line": line,
                "workload": self.workload,
                "seed": self.seed,
            }
        )

    def _launch_s(self) -> float:
        return min(max(_LAUNCH_FACTOR * self._reference_s, _SHORTEST_S), _LONGEST_S) + _TRANSFER_S
