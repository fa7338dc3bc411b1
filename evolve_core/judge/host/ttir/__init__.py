"""A trusted interpreter of Triton's intermediate representation (TTIR) on numpy.

``triton.compile(...).asm["ttir"]`` is text; here it is data: ``parser.parse`` reads it, ``launch.run_launch`` runs it
on buffers that the caller owns. No Python of the kernel's author runs; numpy and the standard library are all it needs.
"""
