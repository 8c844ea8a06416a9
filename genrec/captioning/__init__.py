"""Captions for items that lack text: which items, from which evidence, written, kept, edited, exported. `genrec caption`."""
