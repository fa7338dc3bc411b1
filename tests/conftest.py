"""What every run of the tests prints."""

from __future__ import annotations

from tests.judge.redteam.rates import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
