"""Candidates: speed and recall of search, the learned retriever by parts, likes and dislikes, exploration."""
