"""A conversation: turns understood, answered and stored. `turn` is the page to read.

Import `turn.Conversation`, `messages`, and `sessions.open_dialogue` for a dialogue that it goes on with.
"""
