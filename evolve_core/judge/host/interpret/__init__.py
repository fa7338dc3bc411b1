"""Runs kernels in Triton's interpreter: with every access checked (``bounds``) or with the work counted (``profile``).

Everything here runs in a child of the user's interpreter that had TRITON_INTERPRET=1 before triton was imported.
"""
