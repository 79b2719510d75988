"""HICO-DET: the official Python rules and the MATLAB rules. Nothing is imported here: files need no torch."""
