"""Turns of a dialogue over one workspace: understood, found, answered, kept."""
