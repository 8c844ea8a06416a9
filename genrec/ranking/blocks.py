"""Which past items a profile shows, so that what the candidates share fills whole blocks of an engine's prefix cache.

What lies behind the last whole block is computed again for every candidate: up to 31 tokens where a title has six. No text is put
in between, as a model reads that, too: a few of the oldest items are left out or added instead.
"""

from collections.abc import Sequence

SHARE = 4
"""One in so many of the items that are shown may be left out, the oldest, and as many be added from before them."""


def choose(sizes: Sequence[int], shown: int, tokens: int, block: int) -> list[int]:
    """Places of the items to show, oldest first, with the fewest changes to the last `shown` of them.

    `sizes`: tokens of each item, oldest first. `tokens`: all that the candidates share when the last `shown` are there. Without a
    choice that fills blocks of `block` tokens, those last ones.
    """
    first = max(0, len(sizes) - shown)
    plain = list(range(first, len(sizes)))
    free = len(plain) // SHARE
    # by what is missing to whole blocks: the fewest places to change; adding comes first, it tells more than leaving out
    ways: dict[int, tuple[int, ...]] = {-tokens % block: ()}
    for place in [*range(first - 1, max(-1, first - 1 - free), -1), *plain[:free]]:
        change = sizes[place] if place < first else -sizes[place]
        for missing, way in list(ways.items()):
            left = (missing - change) % block
            if len(ways.get(left, range(block + 1))) > len(way) + 1:
                ways[left] = (*way, place)
    changed = set(ways.get(0, ()))
    return [place for place in range(len(sizes)) if (place >= first) != (place in changed)]
