"""Reasons: are they true, how often is the first try accepted, further examples to learn from."""
