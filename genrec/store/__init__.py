"""The SQL store: items, captions, people, events, triples and dialogues, on SQLite in the workspace or PostgreSQL by URL.

Import `Store` from `genrec.store.store`, what it answers with from `genrec.store.records`.
"""
