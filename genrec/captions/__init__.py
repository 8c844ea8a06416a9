"""Titles, texts and tags for items that lack them: evidence, writers, checkers, runs, edits. Import `Captioner` and `editing`."""
