"""Three catalogues as a parser sees them: attributes with their types, and how often each value occurs. Written by hand.

Also titles of films, among them remakes, series and common words, and titles of office goods.
"""

from collections.abc import Mapping

from genrec.filters import Field
from genrec.types import Item, Scalar
from genrec.understanding.vocabulary import Vocabulary

TEXTS, TEXT, NUMBER, BOOLEAN = Field("text", is_list=True), Field("text"), Field("number"), Field("boolean")


def _counted(values: str, first: int = 200) -> dict[Scalar, int]:
    """Values between semicolons, the first one the most frequent."""
    names = [name.strip() for name in values.split(";")]
    return {name: max(2, first - first * place // len(names)) for place, name in enumerate(names)}


FILM_GENRES = (
    "Drama; Comedy; Action; Thriller; Romance; Adventure; Children's; Crime; Sci-Fi; Horror; War; Mystery; Musical; "
    "Documentary; Animation; Western; Film-Noir; Fantasy"
)
ACTORS = (
    "Robert De Niro; Harrison Ford; Tom Hanks; Meg Ryan; Tom Cruise; Sigourney Weaver; Arnold Schwarzenegger; Humphrey Bogart; "
    "Ingrid Bergman; Al Pacino; Nicolas Cage; Clint Eastwood; Diane Keaton; Cary Grant; Meryl Streep; Adam Sandler; "
    "Jodie Foster; Anthony Hopkins; Julia Roberts; Sean Connery; Gene Hackman; Denzel Washington; Emma Thompson; "
    "Morgan Freeman; Winona Ryder; James Stewart; Grace Kelly; Woody Allen; Juliette Binoche; Toshiro Mifune; Max von Sydow; "
    "Liv Ullmann; Bill Murray; Susan Sarandon; Will Smith; Sandra Bullock; Steven Spielberg"
)
DIRECTORS = (
    "Alfred Hitchcock; Woody Allen; Martin Scorsese; Steven Spielberg; Stanley Kubrick; Ridley Scott; Ingmar Bergman; "
    "Akira Kurosawa; Billy Wilder; Francis Ford Coppola; Clint Eastwood; Jane Campion; Agnes Varda; Rob Reiner; John Ford; "
    "Sidney Lumet; Spike Lee; Tim Burton; Quentin Tarantino"
)
LANGUAGES = "English; French; Spanish; Italian; German; Russian; Japanese; Mandarin; Cantonese; Swedish; Polish; Danish; Latin"
COUNTRIES = "USA; UK; France; Germany; Canada; Italy; Japan; Australia; Hong Kong; Spain; Sweden; China; Poland; Denmark; India"

FILMS = Vocabulary(
    {
        "genres": TEXTS,
        "actors": TEXTS,
        "director": TEXTS,
        "language": TEXTS,
        "country": TEXTS,
        "rated": TEXT,
        "year": NUMBER,
        "runtime_min": NUMBER,
    },
    {
        "genres": _counted(FILM_GENRES, 700),
        "actors": _counted(ACTORS, 40),
        "director": _counted(DIRECTORS, 20),
        "language": _counted(LANGUAGES, 1500),
        "country": _counted(COUNTRIES, 1300),
        "rated": _counted("R; PG-13; PG; Not Rated; G; NC-17", 700),
        "year": {year: 1 + (year - 1925) // 4 for year in range(1925, 2019)},
        "runtime_min": dict.fromkeys(range(62, 222), 12),
    },
)
OFFICE = Vocabulary(
    {
        "category": TEXT,
        "brand": TEXT,
        "colour": TEXTS,
        "material": TEXT,
        "price": NUMBER,
        "pack_size": NUMBER,
        "pages": NUMBER,
        "sheets": NUMBER,
        "rating": NUMBER,
        "refillable": BOOLEAN,
    },
    {
        "category": _counted(
            "pen; notebook; pencil; marker; paper; printer paper; gel pen; folder; binder; label; envelope; stapler;"
            " sticky notes; highlighter; scissors; eraser; "
            "glue; desk organizer; desk lamp; shredder; calculator; whiteboard; ink cartridge; "
            "fountain pen; mechanical pencil; tape",
            300,
        ),
        "brand": _counted(
            "Avery; BIC; Sharpie; Pilot; HP; Post-it; Expo; Pentel; Paper Mate; Swingline; Bostitch; Zebra; Moleskine; Casio;"
            " Canon; Elmer's; Fiskars; Staedtler; Leuchtturm",
            150,
        ),
        "colour": _counted("black; blue; red; white; green; yellow; pink; purple; orange; grey; brown", 400),
        "material": _counted("plastic; metal; wood; leather; cardboard; fabric", 500),
        "price": {round(1.49 + 0.5 * n, 2): 10 for n in range(300)},
        "pack_size": {1: 900, 2: 200, 4: 80, 5: 70, 6: 60, 8: 40, 10: 90, 12: 150, 20: 40, 24: 60, 50: 40, 100: 50},
        "pages": {80: 30, 96: 20, 120: 40, 160: 20, 192: 60, 200: 40, 240: 40, 320: 10},
        "sheets": {50: 20, 100: 40, 200: 40, 500: 80, 1000: 20, 2500: 10},
        "rating": {round(1 + n / 10, 1): 20 + n for n in range(41)},
        "refillable": {True: 140, False: 700},
    },
)
SHOP = Vocabulary(
    {"category": TEXT, "colour": TEXT, "pattern": TEXT, "material": TEXT, "setting": TEXT, "count": TEXT},
    {
        "category": _counted("mug; lamp; chair; shirt; bag; clock; vase; boot; umbrella; guitar"),
        "colour": _counted("red; orange; yellow; green; blue; purple; pink; black"),
        "pattern": _counted("plain; striped; dotted; checked; zigzag"),
        "material": _counted("wood; metal; wool; glass; stone"),
        "setting": _counted("beach; forest; kitchen; snow; city; desert"),
        "count": _counted("one; two; three; four"),
    },
)
CATALOGUES: Mapping[str, Vocabulary] = {"films": FILMS, "office": OFFICE, "shop": SHOP}

_TITLES = """
Matrix, The|1999; Halloween (1978)|1978; Halloween (2018)|2018; Halloween II (1981)|1981; Avengers: Infinity War|2018
The Avengers|2012; Avengers: Age of Ultron|2015; It (2017)|2017; Up (2009)|2009; Her (2013)|2013; Good|2008; Jaws|1975
Spider-Man|2002; Spider-Man 2|2004; X-Men|2000; Rocky|1976; Rocky II|1979; Rocky III|1982; Rocky IV|1985
Fast & Furious (2009)|2009
Fast & Furious 6 (2013)|2013; Seven (Se7en)|1995; Twelve Monkeys|1995; Léon: The Professional|1994; The Godfather|1972
The Godfather: Part II|1974; Amélie|2001; Schindler's List|1993; One Flew Over the Cuckoo's Nest|1975; Alien|1979; Aliens|1986
The Lord of the Rings: The Fellowship of the Ring|2001; The Lord of the Rings: The Two Towers|2002; Titanic (1953)|1953
Titanic (1997)|1997; 2001: A Space Odyssey|1968; 1917|2019; Se and Do|2011; Blade Runner|1982; Blade Runner 2049|2017
What's Love Got to Do with It (1993)|1993; Ocean's Eleven (1960)|1960; Ocean's Eleven (2001)|2001; Groundhog Day|1993
The Shawshank Redemption|1994; Psycho|1960; Signs|2002; Big|1988; The Silence of the Lambs|1991; Mission: Impossible|1996
Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb|1964; Wall-E|2008; Saw|2004; Taken|2008; Die Hard|1988
Star Wars: Episode IV - A New Hope|1977; Star Wars: The Force Awakens|2015; Drama|2010; Frozen (2010)|2010; Frozen (2013)|2013
"""


def films() -> list[Item]:
    pairs = [entry.strip().rsplit("|", 1) for line in _TITLES.strip().splitlines() for entry in line.split(";")]
    texts = {"Signs": "He sees it and her and signs good big things up in the sky, taken by what he saw."}
    return [
        Item(item_id=f"f{n}", title=title, text=texts.get(title, ""), attributes={"year": int(year)})
        for n, (title, year) in enumerate(pairs)
    ]


def goods() -> list[Item]:
    titles = [
        "Paperline Quill Felt Tip Pens, Medium Point (0.7mm), Assorted Colors, 14 Count",
        "Paperline Quill Felt Tip Pens, Fine Point, Black, 6 Count",
        "Brightmark Low-Odor Dry Erase Markers, Bullet Tip, Blue, 12-Count",
        "Brightmark Original Dry Erase Set, Chisel Tip, Assorted Colors, 6-Piece",
        "Zipstaple 747 Classic Desktop Stapler, 30 Sheet Capacity, Black (88770)",
        "Zipstaple Heavy Duty Stapler, 160 Sheets, Grey",
        "Northbrook College Ruled Notebook, 3 Subject, 120 Sheets (NB-3120)",
        "Inkwell 65 Black & Tri-color Original Ink Cartridges, 2 Cartridges (N9K01AN)",
        "Inkwell 74 Black Original Ink Cartridge (CB335WN)",
        "Clearview 1-Inch Round Ring Binder, White",
    ]
    return [Item(item_id=f"g{n}", title=title) for n, title in enumerate(titles)]


def the_item(items: list[Item], title: str) -> str:
    return next(item.item_id for item in items if item.title == title)
