"""Words of a text as a sparse vector for BM25 (Robertson & Zaragoza 2009), the same for both engines.

Term frequency and length are weighed here by the engine's own BM25 model; inverse document frequency is the engine's
(modifier IDF), so that it follows every insert and delete. Words are lower-cased, stripped of accents and stemmed in
English. No stop words: IDF makes them weigh little, and "It", "Her" and "Up" are titles.
"""

import re
from functools import lru_cache

from qdrant_edge import Bm25, Bm25Config, StopwordsSet

_UNSPACED = re.compile("([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Scripts written without spaces (Thai, Japanese, Chinese): every character counts as a word."""


@lru_cache(maxsize=8)
def _model(mean_tokens: float) -> Bm25:
    return Bm25(Bm25Config(avg_len=mean_tokens, ascii_folding=True, stopwords=StopwordsSet()))


def document(text: str, mean_tokens: float) -> tuple[list[int], list[float]]:
    """Indices and weights of an item's text; empty when it has no word."""
    sparse = _model(mean_tokens).embed_document(_spaced(text))
    return sparse.indices, sparse.values


def question(text: str, mean_tokens: float) -> tuple[list[int], list[float]]:
    """Indices and weights of a query; empty when it has no word."""
    sparse = _model(mean_tokens).embed_query(_spaced(text))
    return sparse.indices, sparse.values


def _spaced(text: str) -> str:
    valid = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot reach the engine and is no word
    return _UNSPACED.sub(r" \1 ", valid)
