"""Find and edit kernels in text. Nothing here executes user code."""
