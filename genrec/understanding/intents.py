"""What a turn wants: by its words, what was found in it, and whether something was recommended before."""

import re
from dataclasses import dataclass
from typing import Literal

from genrec.understanding.negation import NAMED
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Vocabulary, name_words
from genrec.understanding.words import stem

Intent = Literal["recommend", "refine", "compare", "ask", "why", "more_like", "something_else", "accept", "reject", "small_talk"]
_IT = rf"(?:this|that|it|these|those|them|the\s+(?:first|second|third|last|other)(?:\s+one)?|{NAMED})"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_WHY = _any(
    r"^\W*(?:and\s+|but\s+)?why\b(?!\s+(?:not|don['’]?t|doesn['’]?t)\b)",
    r"\bwhy\s+(?:did|do|would|are|is|was|that|this|these|those|should)\b",
    r"\bhow\s+come\b",
    r"\bwhat\s+makes\s+(?:you|this|that|it)\b",
    r"\bwhat['’]?s\s+the\s+reason\b",
    r"\b(?:explain|justify)\s+(?:that|this|why|your)",
    r"^\W*(?:any\s+(?:\w+\s+)?|for\s+what\s+|the\s+|your\s+)?reasons?\b(?!\s+to\b)",
    r"^\W*on\s+what\s+grounds\b",
    r"\bthat\s+(?:you|u)\s+(?:picked|chose|recommended|suggested)\b.*\?",
)
_COMPARE = _any(
    r"\bcompare\b",
    r"\bdifferences?\s+between\b",
    r"\bhow\s+(?:do|does)\s+.{0,60}\bcompare\b",
    r"\bwhich\s+(?:one\s+|of\s+(?:them|these|those|the\s+two)\s+)?(?:is|would|has|do\s+you|should)\b",
    rf"{NAMED}.{{0,12}}\b(?:vs\.?|versus)\b.{{0,12}}{NAMED}",
    rf"\b(?:better|which|prefer|choose|between)\b.{{0,40}}{NAMED}.{{0,12}}\b(?:or|and|than)\b.{{0,12}}{NAMED}",
    rf"{NAMED}.{{0,12}}\bor\b.{{0,12}}{NAMED}\s*\?",
    rf"{NAMED}\s+(?:is\s+)?better\s+than\s+{NAMED}",
    rf"^\W*(?:so\s+|is\s+|are\s+|would\s+|should\s+i\s+\w+\s+)?(?:the\s+)?{NAMED}\s*(?:,|or\b|or\s+the\b)\s*{NAMED}(?!\s*(?:and|,|or)\s*{NAMED}).*(?:\?|\bfor\b)",
    rf"{NAMED}\s*(?:(?:vs\.?|versus|against)(?!\w)|compared\s+(?:with|to)\b)",
    rf"(?:\?|^)[^?]*\w+\s+or\s+(?:the\s+)?{NAMED}\s*\?",
)
_MORE_LIKE = _any(
    rf"\bmore\s+(?:\w+\s+)?like\s+(?:\w+\s+)?{_IT}",
    rf"\b(?:similar|close|comparable)\s+(?:\w+\s+)?to\s+(?:\w+\s+)?{_IT}",
    rf"\b(?:something|anything|movies?|films?|ones?|items?|else|stuff|things?|products?|good|\w+s)\s+(?:\w+\s+)?like\s+(?:\w+\s+)?{_IT}(?!\s+is\b)",
    rf"\bin\s+the\s+(?:vein|style|spirit)\s+of\s+{_IT}",
    rf"\balong\s+the\s+lines\s+of\s+{_IT}",
    r"\b(?:more\s+of\s+the\s+same|same\s+(?:kind|sort|type)\s+of|more\s+similar|similar\s+(?:ones?|movies?|films?|items?))\b",
    rf"^\W*like\s+(?:the\s+)?{NAMED}",
    r"^\W*(?:yes\W+|ok(?:ay)?\W+)?(?:some\s+|any\s+)?more\s+of\s+(?:that|this|these|those|it|them|the\s+same)\b",
    rf"{NAMED}.*\b(?:more\s+of\s+(?:that|the\s+same|it|this)|(?:the\s+)?same\s+(?:but|vein|style|again)|along\s+th(?:o|e)se\s+lines|in\s+(?:that|this|the\s+same)\s+(?:direction|vein|style)"
    rf"|(?:gimme|give\s+me|show\s+me|find\s+me|got\s+(?:any|anything)|anything|something)\s+(?:\w+\s+)?similar|again\s+but|but\s+(?:half|cheaper|\w+er)\b)",
)
_ELSE = _any(
    r"\b(?:something|anything|what|anyone|somewhere)\s+else\b",
    r"\b(?:other|more|different)\s+(?:options?|suggestions?|recommendations?|ideas?|choices?|ones)\b",
    r"\banother\s+(?:one|movie|film|option|suggestion|recommendation|idea)\b",
    r"\bshow\s+me\s+(?:some\s+)?(?:more|others)\b",
    r"^\W*(?:next|others?|more|another)\W*(?:please\W*)?$",
    r"\bsomething\s+(?:completely\s+|totally\s+|very\s+)?different\b",
    r"\bnone\s+of\s+(?:these|those|them|your)\b",
    r"^\W*(?:have\s+you\s+)?(?:got\s+)?(?:any|some|another)\s*(?:thing)?\s*(?:more|others?|different|one|two|three|few)?\s*(?:please\s*)?\?+\W*$",
    r"^\W*(?:got\s+)?others\W*$|^\W*(?:the\s+)?next\s+(?:one|ones|list|page)\b|\b(?:a\s+)?different\s+list\b|\banyone\s+else\b",
    r"\b(?:what|any|show\s+me|got|see)\s+(?:about\s+)?(?:the\s+)?other\s+\w+s\b",
)
_ASK = _any(
    r"\bwho\s+(?:directed|stars?|starred|plays?|played|wrote|made|is\s+in|was\s+in|is\s+the|makes)\b",
    rf"\bwhat(?:['’]?s|\s+is|\s+was|\s+are)\s+(?:\w+\s+)?{_IT}\s*(?:all\s+)?(?:about|like|rated|made)?",
    r"\b(?:what|which)\s+(?:year|language|genre|country|colou?rs?|brand|material|rating|price|size|author|director|artist)\s+(?:is|was|are|were|does|did|has)\b",
    r"\bwhat\s+(?:year|language|genre|country|colou?rs?|brand|material|rating)\b",
    r"\bhow\s+(?:long|old|much|big|heavy|many|good|expensive)\s+(?:is|are|was|were|does|do|did|pages|minutes)\b",
    rf"^\W*how\s+\w+(?:\s+\w+)?\s+(?:is|are|does|do|can|could|will|has|have)\s+{_IT}\b",
    r"^\W*(?:and\s+|so\s+)?what(?:['’]?s|\s+is|\s+are)\s+(?:the|its|their)\s+(?:price|cost|size|weight|length|runtime|rating|colou?r|material|year)s?\W*$",
    r"\bwhen\s+(?:was|is|did|were)\b",
    r"\b(?:tell\s+me|know|say|hear)\s+(?:a\s+bit\s+|a\s+little\s+)?(?:more\s+)?about\b",
    rf"^\W*(?:so\s+|and\s+|but\s+)?(?:is|are|was|were|does|do|did|can|has)\s+{_IT}\b",
    rf"\b(?:is|was)\s+{NAMED}\b.*\?",
    rf"\bwhat(?:['’]?s|\s+is|\s+was)\s+{NAMED}",
    rf"^\W*(?:and\s+|so\s+|but\s+|ok(?:ay)?,?\s+)?(?:is|are|was|were|does|do|did|can|could|has|whom?|whose|what|which|where|when|how|from\s+what|in\s+what|in\s+which)\b"
    rf"(?!\s+(?:you|u|i|we|anyone|about|should)\b).{{0,60}}{NAMED}",
    rf"{NAMED}\W+(?:how|what|who|when|which|where|is|does|has)\b[^{NAMED}]*\?",
    rf"^\W*(?:and|what\s+about|how\s+about)\s+{NAMED}\W*$",
    rf"^\W*(?:can|could)\s+(?:you|i|we|one|u)\s+(?!re|su|fi|sh|gi|ge|he|te|pl)\w+\s+{NAMED}\s*\?",
    rf"^\W*(?:weight|price|cost|size|length|colou?r|year|author|director|rating|runtime)\s+of\s+(?:the\s+)?{NAMED}",
)
_REJECT = _any(
    r"^\W*(?:no|nope|nah|no\s+way|no\s+thanks?|no\s+thank\s+you)\W*(?:$|,\s*(?:thanks?|thank|not|i|that|this)\b|thanks?\b|thank\b)",
    rf"\b(?:don['’]?t|do\s+not|didn['’]?t|did\s+not)\s+(?:\w+\s+)?(?:like|want|care\s+for|enjoy|fancy)\s+(?:any\s+of\s+)?{_IT}(?:\s+(?:one|either|at\s+all))?\W*$",
    r"\bnot\s+(?:interested|for\s+me|my\s+(?:thing|taste|style|cup)|that\s+one|this\s+one|really)\W*(?:$|[,.!])",
    r"\b(?:seen|saw|watched|have|own|read|know)\s+(?:it|that|them|those|both|all|that\s+one|this\s+one)\b(?:\s+already)?(?!\s*\?)",
    r"\b(?:this|that|it|these|those|they|both|all)(?:['’]?s|\s+is|\s+are|\s+looks?|['’]re)\s+(?:\w+\s+)?(?:boring|bad|awful|terrible|horrible|ugly|stupid|lame|dull|rubbish|crap)\b",
    r"\bi\s+(?:hate|dislike)\s+(?:it|that|this|them)\b",
    r"^\W*(?:pass|skip(?:\s+it)?|boring|not\s+really)\W*$",
    r"\bno,?\s+(?:thanks|thank\s+you|thx)\W*$",
    r"^\W*(?:way\s+|far\s+|much\s+|a\s+(?:bit|little)\s+)?too\s+\w+",
    r"^\W*(?:ugh|yuck|meh|eww?|nah|nope)\b",
    r"\b(?:can['’]?t|cannot|couldn['’]?t)\s+(?:stand|bear|get\s+into|finish)\b",
    r"\b(?:bores?\s+me|overpriced|over-priced|never\s+again|not\s+for\s+me|stinks?|sucks?|gave\s+up\s+on|fell\s+asleep)\b",
    r"\bi(?:['’]ve|\s+have)\s+(?:already\s+)?(?:been\s+there|finished|done|tried)\b",
    rf"^\W*(?:i(?:['’]?ve|\s+have)?\s+)?(?:already\s+)?(?:seen|saw|watched|read|tried|finished|own|have)\s+{NAMED}",
)
_ACCEPT = _any(
    r"\b(?:i['’]?ll|i\s+will|we['’]?ll|let['’]?s|i['’]?d\s+like\s+to|gonna|going\s+to)\s+(?:\w+\s+)?(?:take|watch|go\s+(?:with|for)|try|buy|get|check|have|add|order|see|give)\b",
    r"\bsounds\s+(?:\w+\s+)?(?:good|great|perfect|awesome|interesting|fun|like\s+a)\b",
    r"\bthat['’]?s\s+(?:the\s+one|it|perfect|great|exactly)\b",
    r"^\W*(?:yes|yeah|yep|yup|sure|ok|okay|perfect|great|deal|done|awesome|excellent|cool|nice|of\s+course|absolutely)\b",
    r"\bi\s+(?:like|love|want)\s+(?:it|that|this|that\s+one|this\s+one|the\s+(?:first|second|third|last)(?:\s+one)?)\W*$",
    r"^\W*love\s+it\b",
    r"\b(?:good|great|nice|perfect)\s+(?:choice|suggestion|pick|idea|recommendation)s?\b",
    r"\b(?:add|adding|put|putting|pop|throw)\b.{0,40}\b(?:basket|cart|bag|trolley|list|queue|shelf)\b",
    rf"{NAMED}\s+it\s+is\b|\b(?:putting\s+on|booking|ordering|buying)\s+(?:the\s+)?{_IT}",
    r"^\W*(?:i|we)\s+take\s|,\s*i\s+take\s|\b(?:take\s+my\s+money|count\s+me\s+in|sign\s+me\s+up|thumbs\s+up|go\s+on\s+then)\b|^\W*sold\W*$|^\W*th(?:is|at)\s+one(?:\W|$)",
)
_REFINE = _any(
    r"^\W*(?:but|only|and|make|what\s+about|how\s+about|also|rather|instead|not|no|without|even|a\s+(?:bit|little)|more|less|nothing|or|maybe|preferably|ideally|just|except|ok(?:ay)?,?\s+but|yes,?\s+but|\w+er)\b",
    r"\binstead\b",
    r"^\W*(?:something|anything)\s+(?:\w+er|more|less)\b",
)
_BUT = _any(r"\b(?:what|how)\s+about\b", r"^\W*\w+\W+(?:but|now|then\s+(?:show|find|give))\b")
"""An `ok` before these goes on to something else."""
_SOFTER = _any(
    r"^\W*(?:(?:but|and|or|just|maybe|something|anything|one|ones|with|a|an|the|got|any|for|much|way|even|a\s+bit|a\s+little)\s+){0,3}"
    r"(?:more|less|fewer|(?:long|short|cheap|new|old|bigg|small|larg|light|heavi|dark|bright|soft|hard|strong|weak|quick|fast|slow|eas|simpl|tough|funni|scari|happi|sadd"
    r"|angri|calm|quiet|loud|fresh|sweet|mild|hott|cold|warm|cool|tall|wid|narrow|thinn|thick|deep|high|low|young|sturdi|fanci|pretti|nic|clean|saf|clos|lat|earli|green"
    r"|healthi|creepi|spooki|gentl|smooth|rich|fin|seri|classi|dri|spici)i?er)\b",
    r"^\W*(?:from|under|over|below|above|without|with|not|no|nothing|only|for|must|ideally)\b",
    r"\b(?:instead|rather\s+than|would\s+be\s+(?:fine|ok|okay|better)|is\s+(?:fine|ok|okay)|i['’]d\s+(?:prefer|rather|pay|read|use|wear))\b",
)
"""Words that change what was asked for, although no value of the catalogue is among them."""
_BEGUN = _any(
    r"^\W*(?:but|only|make|also|instead|what\s+about|how\s+about|rather|and|except|ok(?:ay)?,?\s+but|yes,?\s+but)\b",
    r"\binstead\b",
)
_START = _any(
    r"\b(?:looking\s+for|recommend|suggest|i\s+(?:want|need|would\s+like)|i['’]d\s+(?:like|love)|can\s+you|could\s+you|find\s+me|searching\s+for|show\s+me|do\s+you\s+have|any\s+good)\b"
)
_TALK = re.compile(
    r"""(?:\W|\b(?:hi|hello|hey|hiya|howdy|good\s+(?:morning|evening|afternoon|day|night)|how\s+are\s+(?:you|things)|how['’]?s\s+it\s+going
    |what['’]?s\s+up|there|thanks?|thank\s+you|thx|so\s+much|very\s+much|a\s+lot|bye|goodbye|see\s+you|later|have\s+a|great|nice|good|day|evening
    |weekend|one|night|you\s+too|and\s+you|i['’]?m|i\s+am|fine|well|today|doing|haha+|lol|ok|okay|welcome|you['’]?re|cheers|please|pls|plz|for|your|the|help|everyone|friend)\b)*""",
    re.VERBOSE,
)
_ASKED_OF: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"\bdirect"), ("director", "directors")),
    (
        re.compile(r"\bwho(?:['’]?s|\s+is|\s+was)\s+in|\bwho\s+(?:stars?|starred|plays?|played)|\b(?:cast|actors?)\b"),
        ("actors", "actor", "cast", "star", "stars"),
    ),
    (re.compile(r"\bwho\s+wrote|\bauthor"), ("author", "authors", "writer", "writers")),
    (re.compile(r"\bwho\s+mak|\bmade\s+by|\bbrand"), ("brand", "manufacturer")),
    (re.compile(r"\blanguage"), ("language", "languages")),
    (re.compile(r"\bgenre|\bkind\s+of|\bsort\s+of"), ("genres", "genre", "category")),
    (re.compile(r"\bcolou?r"), ("colour", "color", "colours", "colors")),
    (re.compile(r"\brated\b"), ("rated", "rating", "certificate")),
    (re.compile(r"\bcountry|\bwhere\s+(?:is|was)"), ("country", "countries")),
    (re.compile(r"\bmade\s+of\b"), ("material", "materials")),
)
_ROLES: tuple[tuple[re.Pattern[str], Role], ...] = (
    (
        re.compile(
            r"^\W*(?:is|are|was|were)\s+\S+\s+(?:very\s+|too\s+|that\s+)?(?:long|short)\b|\bhow\s+long\b|\bruntime\b|\bduration\b|\blength\b"
        ),
        "duration",
    ),
    (
        re.compile(
            r"^\W*(?:is|are|was|were)\s+\S+\s+(?:very\s+|too\s+|that\s+)?(?:old|new|recent)\b|\bwhen\b|\bwhat\s+year\b|\bhow\s+old\b|\bcome\s+out\b"
        ),
        "year",
    ),
    (re.compile(r"\bhow\s+much\b|\bprice\b|\bcost\b|\bexpensive\b"), "price"),
    (re.compile(r"\bhow\s+good\b|\brating\b|\bstars\b"), "rating"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What else was understood of the turn. `placed`: an item was named by its place in the list; `short`: the wish is a word
    or two.
    """

    constrained: bool
    steered: bool
    need: bool
    mentions: int
    liked: bool
    placed: bool = False
    short: bool = False


def intent_of(masked: str, found: Found, *, ongoing: bool) -> Intent:
    """`masked`: the text in lower case with `NAMED` for each mention. `ongoing`: something was recommended before."""
    if not masked.strip() or (_TALK.fullmatch(masked) and not found.constrained):
        return _talked(masked, found, ongoing=ongoing)
    if _WHY.search(masked):
        return "why"
    asks = masked.count("?") > 0
    if _COMPARE.search(masked) and (found.mentions != 1 or not found.constrained):
        return "compare"
    if _MORE_LIKE.search(masked):
        return "more_like"
    if _ELSE.search(masked):
        return "something_else"
    fresh = bool(_START.search(masked))
    if _ASK.search(masked) and (found.mentions or not fresh):
        return "ask"
    asked_for = found.constrained or found.steered
    if _REJECT.search(masked) and not asked_for:
        return "reject"
    if _ACCEPT.search(masked) and not asked_for and not (asks or fresh or _BUT.search(masked)) and (ongoing or not found.need):
        return "accept"
    if asked_for and not fresh and (ongoing or found.steered or _BEGUN.search(masked)):
        return "refine"
    if ongoing and not fresh and not found.liked and (found.short or _SOFTER.search(masked)):
        return "refine"
    return "recommend"


_LEAVES = re.compile(r"\b(?:bye|goodbye|see\s+you|good\s+night)\b")


def _talked(masked: str, found: Found, *, ongoing: bool) -> Intent:
    """A turn of small talk, or of nothing but a name: one of the list is taken, another is what to look for."""
    if found.mentions:
        return "accept" if ongoing and (found.placed or _ACCEPT.search(masked)) else "more_like"
    said = bool(re.search(r"\w", masked)) and not _LEAVES.search(masked)
    return "accept" if ongoing and said and _ACCEPT.search(masked) else "small_talk"


_FACT = re.compile(
    r"^\W*(?:(?:and|so|but|ok(?:ay)?)\W+)?(?:is|are|was|were|does|do|did|can|could|has|have|how|where|when|in\s+what)\b"
)
_OPEN = re.compile(r"\babout\b|\bwhat(?:['’]?s|\s+is)\s+" + _IT + r"\W*$|\bhow\s+good\b|\bany\s+good\b|\blike\b")
_TAKES = re.compile(r"\b(?:take|buy|get|order|add|put|book|watch|go\s+(?:with|for))\b.{0,20}\b(?:it|that|this|one)\b")


def asks_for_a_fact(low: str) -> bool:
    """Whether one thing is asked about an item (`is it on tape?`) rather than what it is."""
    return bool(_FACT.search(low)) and not _OPEN.search(low)


def takes_one(low: str) -> bool:
    """Whether one item is taken: `put it in my basket`."""
    return bool(_TAKES.search(low))


def unmet_question(low: str, vocabulary: Vocabulary) -> tuple[Role, ...]:
    """What a question is about that no attribute of the catalogue tells: its price, how long it takes."""
    asked: list[Role] = [role for pattern, role in _ROLES if pattern.search(low)]
    return tuple(role for role in asked if role in ("price", "duration") and vocabulary.with_role(role) is None)


def asked_attribute(low: str, vocabulary: Vocabulary) -> str:
    """The attribute that a question is about, empty for the item as a whole."""
    for pattern, names in _ASKED_OF:
        if pattern.search(low):
            for name in names:
                if name in vocabulary.schema:
                    return name
    for pattern, role in _ROLES:
        numbers = vocabulary.with_role(role) if pattern.search(low) else None
        if numbers is not None:
            return numbers.name
    said = {stem(word) for word in re.findall(r"[^\W\d_]+", low)}
    for name in vocabulary.schema:
        words = {stem(word) for word in name_words(name)}
        if words and words <= said:
            return name
    return ""
