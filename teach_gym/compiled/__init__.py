"""Formulas recorded on symbols, and machine code made from them with numba."""
