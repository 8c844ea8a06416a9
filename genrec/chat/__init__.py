"""A conversation: turns answered, sessions kept, replies worded. Import `Conversation`, `messages` and `sessions`."""
