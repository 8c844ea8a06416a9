"""One answer, from a settled request to ranked rows with reasons and a trace.

Import `Answering`, `Request` and `Stages` from it.
"""
