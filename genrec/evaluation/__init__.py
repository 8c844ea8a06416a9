"""Comparing systems that recommend: splits, metrics, significance, and the harness that runs it all."""
