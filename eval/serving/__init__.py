"""Speed and faults:

an interactive answer, a batch, a vLLM server beside its rivals, engines beside one another, quantised weights.
"""
