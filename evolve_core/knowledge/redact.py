"""What must not leave the machine with a kernel's source: keys, and paths that name people or folders.

The knowledge base is shared; a wrapper around a kernel may hold a token or a path in a string or a comment. The text
stays readable and parses as before, because only the inside of the match is replaced.
"""

from __future__ import annotations

import re

_KEYS = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{12,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{12,}|hf_[A-Za-z0-9]{16,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
)
_NAMED_KEYS = re.compile(
    r"(?i)(\b\w*(?:api_?key|secret|token|passw(?:or)?d|credential)\w*[\"']?\]?\s*[:=]\s*)([rbf]?)([\"'])[^\"'\n]{4,}\3"
)
_URL_PASSWORDS = re.compile(r"(\w+://[^\s:/@\"']+:)[^\s@\"']+@")
_QUOTED_PATHS = re.compile(r"([\"'])(?:file://)?(?:/[^\"'\n/]+){2,}/?\1")
_HOME_PATHS = re.compile(
    r"(?<![\w./])(?:/(?:home|Users|root|mnt|data|scratch|tmp|var|opt|srv|nfs|work|workspace|usr)/[^\s\"'`,;:)\]}]*"
    r"|~/[^\s\"'`,;:)\]}]+|[A-Za-z]:\\[^\s\"'`,;)\]}]+)"
)


def redact(text: str) -> str:
    """``text`` without keys and absolute paths."""
    text = _KEYS.sub("REDACTED", text)
    text = _NAMED_KEYS.sub(r"\1\2\3REDACTED\3", text)
    text = _URL_PASSWORDS.sub(r"\1REDACTED@", text)
    text = _QUOTED_PATHS.sub(r"\1PATH\1", text)
    return _HOME_PATHS.sub("PATH", text)
