"""What a command does when it is not told otherwise."""

from __future__ import annotations

BUDGET = "10m,200c"
TARGET = "sm_90"
PROPOSERS = "transplant,rewrite,tune,model"
