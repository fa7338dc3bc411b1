"""Names of signals, for messages."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Python has names for most signals only: real-time ones, and those of other systems, keep their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
