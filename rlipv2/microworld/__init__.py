"""The micro-world: a small relational data set made by a program, for first runs and tests of the whole chain.

Persons and eleven kinds of objects in random scenes; what they do with each other can be seen in the geometry only.
`write_hico` stores it in the real layout of HICO-DET, so the ordinary dataset class reads it.
"""

from rlipv2.microworld.hico import write_hico

__all__ = ["write_hico"]
