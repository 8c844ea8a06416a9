"""One answer, from a settled request to ranked rows with reasons and a trace. `pipeline` is the page to read.

Import `pipeline.AnswerPipeline`, `request.settled_request` with its checks and types, and `trace.Stages`.
"""
