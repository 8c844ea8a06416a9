"""The LLM as a ranker: prompts for a candidate list, scores from log-probabilities, fusion with the retriever.

Import `Ranker`.
"""
