"""Conversation: what a turn says, about which items, under which constraints."""
