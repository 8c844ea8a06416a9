"""Results with realistic numbers, made up, for the tests of the report and of the table."""

from dataclasses import replace

from genrec.evaluation.results import (
    Difference,
    Environment,
    Estimate,
    OrderFlips,
    Results,
    Slice,
    SplitInfo,
    SystemResult,
    Trial,
)

KS = (1, 5, 10, 20, 50)
# name: NDCG@10, recall@10, recall@50, share of the items shown at 10, steepness of the exposure, fit seconds
FIGURES = {
    "learned": (0.1312, 0.238, 0.541, 0.62, 3.0, 212.0),
    "zero-shot": (0.1190, 0.213, 0.502, 0.58, 3.4, 1.2),
    "boosted": (0.1148, 0.207, 0.497, 0.44, 5.0, 41.0),
    "sasrec": (0.1083, 0.198, 0.476, 0.51, 4.1, 96.0),
    "ease": (0.1050, 0.199, 0.493, 0.41, 5.6, 0.8),
    "item-knn": (0.0874, 0.166, 0.431, 0.36, 6.5, 0.3),
    "als": (0.0712, 0.141, 0.397, 0.33, 7.0, 2.6),
    "bpr": (0.0581, 0.113, 0.352, 0.30, 8.0, 9.7),
    "popular": (0.0354, 0.069, 0.228, 0.06, 30.0, 0.01),
}
RELATIVE = {"ndcg": 1.0, "recall": 1.8, "precision": 0.18, "f1": 0.33, "hit": 1.8, "mrr": 0.75, "map": 0.74}
PLACES = {1: 0.42, 5: 0.8, 10: 1.0, 20: 1.22, 50: 1.55}
PARTS = {
    "history length": {"1-5": 0, "6-20": 131, "21-50": 302, ">50": 510},
    "target popularity": {"head": 418, "mid": 344, "tail": 181},
    "target platform": {"cinema": 700, "stream": 243},
}


def around(mean: float, n: int = 943, sd: float | None = None) -> Estimate:
    half = 0.42 * mean**0.5 / n**0.5
    return Estimate(mean=mean, low=max(0.0, mean - half), high=mean + half, n=n, sd_over_seeds=sd)


def system(name: str, rank: int) -> SystemResult:
    ndcg, recall, recall50, shown, steep, fit = FIGURES[name]
    seeded = name in ("learned", "sasrec", "bpr")
    metrics = {f"{family}@{k}": around(ndcg * of * PLACES[k]) for family, of in RELATIVE.items() for k in KS}
    metrics |= {f"arp@{k}": around(60 + 3 * steep) for k in KS} | {f"novelty@{k}": around(10 - 0.1 * steep) for k in KS}
    metrics |= {f"diversity@{k}": around(0.6) for k in KS} | {f"calibration@{k}": around(0.9) for k in KS}
    metrics |= {
        "ndcg@10": around(ndcg, sd=0.0013 if seeded else None),
        "recall@10": around(recall),
        "recall@50": around(recall50),
        "auc": around(0.93 - 0.01 * rank),
    }
    slices = [
        Slice(by=by, value=value, n=n, metrics={"ndcg@10": around(ndcg * (0.7 + 0.25 * place), n)} if n else {})
        for by, parts in PARTS.items()
        for place, (value, n) in enumerate(parts.items())
    ]
    curve = tuple((share / 20, 1 - (1 - share / 20) ** steep) for share in range(21))
    return SystemResult(
        name=name,
        settings={"half_life": 2.0 + rank, "factors": 64, "weights": {"text": 0.2, "behaviour": 1.0}},
        seeds=(0, 1, 2) if seeded else (0,),
        trials=tuple(Trial(settings={"half_life": h, "factors": 64}, score=ndcg * (1 - 0.02 * h), seconds=fit) for h in range(6)),
        metrics=metrics,
        catalogue={f"coverage@{k}": min(1.0, shown * PLACES[k]) for k in KS} | {f"gini@{k}": 0.6 + 0.04 * rank for k in KS},
        coverage=tuple((float(k), min(1.0, shown * PLACES[k])) for k in KS),
        exposure=curve,
        slices=tuple(slices),
        gates={"text": 0.31, "behaviour": 0.44, "image": 0.09, "attributes": 0.16} if name == "learned" else None,
        people={"ndcg@10": (0.0, 0.63, 1.0)},
        fit_seconds=fit,
        score_seconds=0.07 * (rank + 1),
        tune_seconds=6 * fit,
    )


def difference(one: SystemResult, other: SystemResult, metric: str) -> Difference:
    mean = one.metrics[metric].mean - other.metrics[metric].mean
    p = 0.4 if abs(mean) < 0.008 else 0.0002
    low, high = mean - 0.007, mean + 0.007
    return Difference(system=one.name, other=other.name, metric=metric, mean=mean, low=low, high=high, p=p / 4, p_holm=p)


def results(reference: str = "learned") -> Results:
    systems = tuple(system(name, rank) for rank, name in enumerate(FIGURES))
    first = next(found for found in systems if found.name == reference)
    absent = SystemResult(
        name="rectools", status="missing", note="the package rectools is not installed", hint="pip install 'genrec[eval]'"
    )
    return Results(
        split=SplitInfo(
            name="leave-one-out", cases=943, items=1682, candidates=1682, cold_items=0, train_events=98_114, train_people=943,
            targets=943, cutoff=None, digest="5d41402abc4b2a76",
        ),
        ks=KS,
        reference=reference,
        systems=(*systems, absent),
        differences=tuple(
            difference(other, first, metric)
            for metric in ("ndcg@10", "recall@10", "recall@50")
            for other in systems
            if other.name != reference
        ),
        pairs=tuple(difference(a, b, "ndcg@10") for n, a in enumerate(systems) for b in systems[n + 1 :]),
        environment=Environment(
            date="2025-06-01T12:00:00+00:00", genrec="0.1.0", machine="x86_64, Linux", cores=2, python="3.12.1", seeds=(0, 1, 2),
            versions={"numpy": "2.3.1", "torch": "2.11.0"},
        ),
    )  # fmt: skip


def cold(found: Results) -> Results:
    """As a cold-item split gives them: each system has the figures of its warm twin."""
    systems = tuple(
        replace(s, warm={metric: around(1.4 * s.metrics[metric].mean) for metric in ("ndcg@10", "recall@10")}) if s.metrics else s
        for s in found.systems
    )
    return replace(found, systems=systems, split=replace(found.split, name="cold-items", cold_items=168, cases=97))


def reranked(found: Results) -> Results:
    """The learned one stands on zero-shot, as an LLM would; boosted on ease, without an order of labels to shuffle."""
    flips = OrderFlips(people=20, shuffles=2, pairs=0.0731, first=0.3, served_pairs=0.012, served_first=0.05)
    told = {
        "learned": {
            "retriever": "zero-shot", "ceiling": 0.5412, "candidates": 100, "handed_recall": 0.6234, "flips": flips,
            "order_flip_rate": flips.pairs,
        },
        "boosted": {"retriever": "ease", "ceiling": 0.493, "candidates": 50, "handed_recall": 0.493},
    }  # fmt: skip
    return replace(found, systems=tuple(replace(s, **told.get(s.name, {})) for s in found.systems))
