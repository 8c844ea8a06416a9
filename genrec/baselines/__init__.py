"""Recommenders that the product is compared with, each a `System` (genrec/retrieval/systems.py) tuned by its own `grid`.

    popularity   the most popular items, lately or ever
    item-knn     neighbours of the history's items (Sarwar et al., WWW 2001)
    ease         a linear autoencoder in closed form (Steck, WWW 2019)
    als          implicit matrix factorisation (Hu, Koren and Volinsky, ICDM 2008)
    bpr          pairwise matrix factorisation (Rendle et al., UAI 2009)
    sasrec       a causal transformer over item ids, trained with cross-entropy (Kang and McAuley, ICDM 2018; Klenitskiy and
                 Vasilev, RecSys 2023)
    boosted      gradient-boosted trees that rank the first stages' best again (LambdaMART; lightgbm)

All of them read a history with a half-life that is tuned, people who are new are folded in, and a person without any event gets
the most popular items.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from genrec.errors import ConfigError

if TYPE_CHECKING:
    from genrec.retrieval.systems import System

_PLACES = {
    "popularity": ("closed_form", "Popularity"),
    "item-knn": ("closed_form", "ItemKNN"),
    "ease": ("closed_form", "Ease"),
    "als": ("factors", "Als"),
    "bpr": ("factors", "Bpr"),
    "sasrec": ("sasrec", "SasRec"),
    "boosted": ("boosted", "Boosted"),
}
NAMES = tuple(_PLACES)


def baselines(names: Iterable[str] = NAMES) -> "list[System]":
    """The baselines of these names, in this order, with default settings.

    Raises ConfigError for a name that is none of `NAMES`. A package that a baseline needs is looked for when it is fitted.
    """
    chosen = list(names)
    unknown = [name for name in chosen if name not in _PLACES]
    if unknown:
        raise ConfigError(f"no baseline is called {unknown[0]!r}", hint=f"Baselines: {', '.join(NAMES)}.")
    made = []
    for name in chosen:
        module, kind = _PLACES[name]
        made.append(getattr(import_module(f"{__name__}.{module}"), kind)())
    return made
