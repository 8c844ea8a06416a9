"""Candidates: vectors of items and people, fusion of modalities, the trained and the untrained retriever. Import `Retriever`."""
