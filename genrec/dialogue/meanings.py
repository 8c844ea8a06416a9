"""Words that stand for values, wherever a catalogue has these values; scales of values; words for roles of attributes."""

from typing import Literal

Role = Literal["year", "duration", "price", "rating", "pack", "weight", "other"]

STANDS_FOR: dict[str, tuple[str, ...]] = {
    "science fiction": ("sci-fi", "science fiction", "sf"),
    "sci fi": ("sci-fi", "science fiction", "sf"),
    "sf": ("sci-fi", "science fiction"),
    "scary": ("horror",),
    "frightening": ("horror",),
    "slasher": ("horror",),
    "funny": ("comedy",),
    "hilarious": ("comedy",),
    "comedic": ("comedy",),
    "animated": ("animation",),
    "cartoon": ("animation",),
    "romantic": ("romance",),
    "love story": ("romance",),
    "suspense": ("thriller",),
    "kids movie": ("children's", "kids", "family"),
    "kids film": ("children's", "kids", "family"),
    "noir": ("film-noir",),
    "docu": ("documentary",),
    "biopic": ("biography",),
    "biographical": ("biography",),
    "historical": ("history",),
    "rom com": ("romance", "comedy"),
    "romcom": ("romance", "comedy"),
    "wooden": ("wood",),
    "woollen": ("wool",),
    "woolen": ("wool",),
    "woolly": ("wool",),
    "metallic": ("metal",),
    "golden": ("gold",),
    "stripes": ("striped",),
    "stripy": ("striped",),
    "dots": ("dotted",),
    "spotted": ("dotted",),
    "polka dot": ("dotted",),
    "polka dots": ("dotted",),
    "chequered": ("checked",),
    "checkered": ("checked",),
    "checks": ("checked",),
    "unpatterned": ("plain",),
    "no pattern": ("plain",),
    "without pattern": ("plain",),
    "without a pattern": ("plain",),
    "without any pattern": ("plain",),
    "gray": ("grey",),
    "grey": ("gray",),
    "violet": ("purple",),
    "crimson": ("red",),
    "scarlet": ("red",),
    "snowy": ("snow",),
    "woods": ("forest",),
    "town": ("city",),
    "seaside": ("beach",),
    "american": ("usa", "united states", "us", "america"),
    "british": ("uk", "united kingdom", "great britain", "england"),
    "english": ("uk", "united kingdom", "england"),
    "england": ("uk", "united kingdom"),
    "french": ("france",),
    "german": ("germany",),
    "italian": ("italy",),
    "spanish": ("spain",),
    "japanese": ("japan",),
    "chinese": ("china", "mandarin"),
    "korean": ("south korea", "korea"),
    "indian": ("india",),
    "canadian": ("canada",),
    "australian": ("australia",),
    "swedish": ("sweden",),
    "danish": ("denmark",),
    "norwegian": ("norway",),
    "polish": ("poland",),
    "russian": ("russia",),
    "mexican": ("mexico",),
    "irish": ("ireland",),
    "dutch": ("netherlands",),
    "america": ("usa", "united states", "us"),
    "united states": ("usa", "us"),
    "britain": ("uk", "united kingdom"),
}
"""A word that is itself a value of the catalogue stands for itself. The first target that the catalogue has counts."""
BOTH = frozenset({"rom com", "romcom"})
"""These stand for all their targets at once."""

SCALES: tuple[tuple[str, ...], ...] = (
    ("G", "PG", "PG-13", "R", "NC-17"),
    ("TV-Y", "TV-Y7", "TV-G", "TV-PG", "TV-14", "TV-MA"),
    ("U", "PG", "12", "15", "18"),
    ("XXS", "XS", "S", "M", "L", "XL", "XXL", "XXXL"),
    ("beginner", "intermediate", "advanced", "expert"),
    ("easy", "medium", "hard"),
    ("low", "medium", "high"),
)
"""Values with an order, from low to high; `PG or lower` needs it."""

ROLE_NAMES: dict[str, Role] = {
    **dict.fromkeys(("year", "released", "release", "date", "published", "publication", "vintage"), "year"),
    **dict.fromkeys(
        ("runtime", "duration", "length", "minutes", "min", "mins", "hours", "playtime", "running", "seconds"), "duration"
    ),
    **dict.fromkeys(("price", "cost", "usd", "eur", "gbp", "dollars", "msrp"), "price"),
    **dict.fromkeys(("rating", "stars", "score", "vote", "votes", "imdb"), "rating"),
    **dict.fromkeys(("pack", "count", "quantity", "pieces", "pcs", "units"), "pack"),
    **dict.fromkeys(("weight", "kg", "grams", "lbs", "ounces"), "weight"),
}
"""What a word in an attribute's name says about its numbers."""

NAMED_BY: dict[str, frozenset[str]] = {
    "director": frozenset("by directed director directors filmmaker directing".split()),
    "author": frozenset("by written author authors writer from".split()),
    "writer": frozenset("by written writer screenplay".split()),
    "artist": frozenset("by artist singer band".split()),
    "brand": frozenset("by from brand brands make made".split()),
    "actor": frozenset("with starring stars star starred featuring actor actress actors cast played plays".split()),
    "star": frozenset("with starring stars star starred featuring actor actress actors cast played plays".split()),
    "cast": frozenset("with starring stars star starred featuring actor actress actors cast played plays".split()),
    "language": frozenset("in language speaking spoken subtitles".split()),
    "country": frozenset("from country made produced".split()),
    "colour": frozenset("in colour color coloured".split()),
    "color": frozenset("in colour color coloured".split()),
    "material": frozenset("of material made".split()),
}
"""Words around a value that say which attribute is meant, by the attribute's name."""

STEERS: dict[str, tuple[Role, str]] = {
    "shorter": ("duration", "<"),
    "longer": ("duration", ">"),
    "newer": ("year", ">"),
    "more recent": ("year", ">"),
    "more modern": ("year", ">"),
    "older": ("year", "<"),
    "earlier": ("year", "<"),
    "cheaper": ("price", "<"),
    "less expensive": ("price", "<"),
    "more affordable": ("price", "<"),
    "less pricey": ("price", "<"),
    "pricier": ("price", ">"),
    "more expensive": ("price", ">"),
    "better rated": ("rating", ">"),
    "higher rated": ("rating", ">"),
    "lighter": ("weight", "<"),
    "heavier": ("weight", ">"),
}
"""Wishes relative to what was shown."""
TOO: dict[str, tuple[Role, str]] = {
    "long": ("duration", "<"),
    "short": ("duration", ">"),
    "old": ("year", ">"),
    "recent": ("year", "<"),
    "new": ("year", "<"),
    "modern": ("year", "<"),
    "expensive": ("price", "<"),
    "pricey": ("price", "<"),
    "cheap": ("price", ">"),
    "heavy": ("weight", "<"),
    "light": ("weight", ">"),
}
"""What `too long` and `nothing too long` ask for."""
