"""Recorded cases of pseudo-labelling: what the official functions gave for small inputs, in JSON files."""

from rlipv2.parity.pseudo_labels.kinds import check_file

__all__ = ["check_file"]
