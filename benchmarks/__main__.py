"""``python -m benchmarks``: run them one after the other, the short ones first."""

from __future__ import annotations

import subprocess
import sys

SUITES = (
    (
        "benchmarks.estimate.rank_correlation",
        (),
        "the estimate against times measured on a GPU (stored data)",
    ),
    ("benchmarks.corpus_kernels", (), "a keystroke against a fresh reading of the file"),
    ("benchmarks.ttir_speed", (), "the examples as TTIR on numpy beside Triton's own interpreter"),
    ("benchmarks.mutants", (), "the acceptance rule on honest variants and mutants of 92 operators"),
    ("benchmarks.server", (), "the language server beside a null server: start, keystrokes, reads under load"),
    ("benchmarks.winners", ("--seeds", "2"), "what searches without a GPU find, rechecked (all: --seeds 20)"),
)


def main() -> int:
    failed = []
    for module, arguments, what in SUITES:
        print(f"\n== {module}: {what}", flush=True)
        if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode:
            failed.append(module)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
