"""Comparing recommenders: splits, leak checks, metrics with intervals, the report. Only the CLI and `eval/` import it."""
