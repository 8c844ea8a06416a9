"""Candidates: vectors of items and users, fusion of modalities, the trained and the untrained retriever.

Begin with `retriever.Retriever`; every module may be imported by the layers above.
"""
