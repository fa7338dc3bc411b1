"""What can go wrong with the knowledge base itself. Every message names the cause and the next step."""

from __future__ import annotations

from evolve_core.errors import KernelEvolveError


class KnowledgeError(KernelEvolveError):
    """The common root: catching it leaves the rest of the tool working without a knowledge base."""


class KnowledgeUnavailable(KnowledgeError):
    """The database cannot be reached, opened or written."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(
            f"The knowledge base at {url} cannot be used: {cause}. "
            "Set KERNEL_EVOLVE_KNOWLEDGE to a database that can be reached, or to sqlite:// for none that lasts."
        )


class KnowledgeTooNew(KnowledgeError):
    """The schema was written by a newer version."""

    def __init__(self, url: str, found: str, known: int) -> None:
        super().__init__(
            f"The knowledge base at {url} has schema version {found}, this version of kernel-evolve knows {known}. "
            "Upgrade it (pip install -U kernel-evolve), or point KERNEL_EVOLVE_KNOWLEDGE elsewhere. "
            "Nothing was changed."
        )


class MissingDriver(KnowledgeError):
    """The URL names a database whose Python driver is not installed."""

    def __init__(self, url: str, module: str) -> None:
        super().__init__(
            f"The knowledge base at {url} needs the Python module {module}, which is not installed. "
            "For PostgreSQL: pip install 'kernel-evolve[postgres]' and a URL that starts with postgresql+psycopg://."
        )


class UnknownInsight(KnowledgeError):
    """No insight has this id."""

    def __init__(self, insight_id: str) -> None:
        super().__init__(
            f"The knowledge base holds no insight {insight_id!r}. `kernel-evolve kb search` lists those it has."
        )


class BadExchangeFile(KnowledgeError):
    """A line of an export that cannot be read. Nothing of the file was imported."""

    def __init__(self, name: str, line: int, cause: str) -> None:
        super().__init__(
            f"{name}, line {line}: {cause}. Nothing was imported. "
            "The file must be what `kernel-evolve kb export` writes."
        )
