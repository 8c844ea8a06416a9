"""Benchmarks and checks of genrec on real data.

README.md says which command answers which question. Run from the root: `python -m eval.…`.
"""
