"""Saved results of an evaluation: what was detected and linked, a file for every video."""
