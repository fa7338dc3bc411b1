"""What applying a winner to a buffer would do, computed beside the loop: comparing long texts takes its time."""

from __future__ import annotations

from evolve_core.source.edit import rebase
from evolve_core.source.model import TextEdit
from evolve_server.view import Offer


def offer(candidate_id: str, base: str, candidate: str, text: str, revision: int) -> Offer:
    """The winner's edits on ``text``, which is the buffer at ``revision``.

    The engine reads and writes ``\\n`` alone; a buffer with ``\\r\\n`` is compared without and edited with it.
    """
    if "\r\n" not in text:
        return Offer(candidate_id, revision, rebase(_plain(base), _plain(candidate), text))
    edits = rebase(_plain(base), _plain(candidate), _plain(text))
    if edits is not None:
        edits = tuple(TextEdit(e.start_line, e.end_line, e.new_text.replace("\n", "\r\n")) for e in edits)
    return Offer(candidate_id, revision, edits)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")
