"""How fast the language server is, as ratios to a server that does nothing. Run: ``python -m benchmarks.server``."""
