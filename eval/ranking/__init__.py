"""The LLM as a ranker: scoring methods against their plain computation, what a base model and an adapter add."""
