"""Encoders of texts and pictures, where weights come from, and the network of the learned retriever.

Any room above may import it.
"""
