"""The LLM behind one protocol (`protocol.py`): the engines transformers, vLLM and OpenAI-compatible server, and LoRA adapters."""
