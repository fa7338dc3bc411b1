"""The engine of kernel-evolve: everything but the language server.

Data flows one way: source → task → propose → judge → search → journal. ``hints`` and ``knowledge``
hang off it sideways. ARCHITECTURE.md says where to look for what.
"""

__version__ = "0.1.0"
