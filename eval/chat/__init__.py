"""Dialogues: conversations published whole, hostile turns, retrieval, title linking and reading of turns."""
