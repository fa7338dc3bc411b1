"""Our own faults, drawn as a tree. Candidates' failures are values (``judge.verdict.Failure``), never these.

    KernelEvolveError
    ├── UsageError            the command line or a file name is off
    ├── CannotWrite           a file of the user's could not be written (files.py)
    ├── JournalError          the journal cannot be used
    │   ├── JournalTooNew     it was written by a newer kernel-evolve
    │   └── JournalFull       the disk is full, or the journal cannot grow
    ├── RunError              a run cannot start or go on
    │   └── AlreadyEvolved    another living run has one of its kernels
    ├── JudgeRefused          the judge cannot work on this task here (judge/session.py)
    ├── NotCalibrated         the device could not be measured (judge/calibration.py)
    ├── BadEvidence           a proof that is none, or was changed (judge/evidence.py)
    ├── KnowledgeError        the knowledge base cannot be used (knowledge/errors.py)
    └── MissingExtra          a language model's SDK is not installed (models/provider.py)

Each message names the cause and the next step; it is shown to the user as it stands.
"""

from __future__ import annotations


class KernelEvolveError(Exception):
    """Base of every error of ours that a user may meet. ``str(error)`` is the message to show."""


class UsageError(KernelEvolveError):
    """What was asked for does not exist or makes no sense."""


class CannotWrite(KernelEvolveError):
    """A file could not be written; nothing of it is left behind."""


class JournalError(KernelEvolveError):
    """The journal cannot be used."""


class JournalTooNew(JournalError):
    """The journal was written by a newer version."""


class JournalFull(JournalError):
    """The journal cannot grow: nothing that was judged before is lost."""


class RunError(KernelEvolveError):
    """A run cannot start or go on."""


class AlreadyEvolved(RunError):
    """Another living run has one of the kernels; nothing was started."""
