"""Every number of what is read from the images of a cell.

Letters: N images, K bits, U issued users, R registered users, C copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit import rules

CLAIMED = (1e-2, 1e-3, 1e-6)
POPULATIONS = (10**2, 10**4, 10**6)
TOGETHER = (10, 100)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TRACED = 0.95
WORDS = frozenset({"no_claim", "threshold_rule", "unconverged"})
"""Parts of a detail that are sentences."""

Arrays = dict[str, np.ndarray]
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What is stored of a cell.

    Attributes:
        level: "none", "image", "model", "coalition" or "forgery".
        gate: least bit accuracy of a method that converged.
        codes: (U, K) bool.
        users: behind each column.
        copies: the columns, logits (m, K) and what was measured beside.
        negatives: source -> its column.
        host: column of untouched host images.
        reference: of the features of real images.
        real_images: how many there are.
        registered: R.
        false_rate: alpha.
        distance_count: images that distances are made of where there are as many.
        networks: names of published networks that judge pairs of images.
        secrecy: scores of the detector, if it was asked for.
    """

    level: str
    gate: float
    codes: np.ndarray
    users: Sequence[tuple[int, ...]]
    copies: Sequence[Arrays]
    negatives: dict[str, Arrays]
    host: Arrays
    reference: rules.Gaussian
    real_images: int
    registered: int
    false_rate: float
    distance_count: int
    networks: tuple[str, ...] = ()
    secrecy: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        at = object.__setattr__
        at(self, "counts", np.array([len(c["logits"]) for c in self.copies]))
        at(self, "logits", np.concatenate([c["logits"] for c in self.copies]))
        at(self, "owners", np.repeat([u[0] for u in self.users], self.counts))
        at(self, "match", equal_bits(self.logits, self.codes))

    counts: np.ndarray = field(init=False)
    logits: np.ndarray = field(init=False)
    owners: np.ndarray = field(init=False)
    match: np.ndarray = field(init=False)

    @property
    def bits(self) -> int:
        """K."""
        return self.codes.shape[1]

    @property
    def single(self) -> bool:
        """Whether each column is of one user's copy."""
        return self.level in ("none", "image", "model")

    def of_nobody(self, source: str) -> np.ndarray:
        """(N, U) equal bits of a source of negatives with each issued code."""
        return equal_bits(self.negatives[source]["logits"], self.codes)

    def supported(self, registered: int) -> bool:
        """Whether so many users can be told apart, the issued among them."""
        fits = rules.supported(self.bits, registered, self.false_rate)
        return registered >= len(self.codes) and fits

    def threshold(self, registered: int) -> int:
        """Of accusing any of so many."""
        found = rules.threshold(self.bits, self.false_rate, registered)
        assert found is not None
        return found

    def per_copy(self, values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
        """(C,) sums of the images of each copy."""
        ends = np.cumsum(self.counts if counts is None else counts)[:-1]
        return np.array([part.sum() for part in np.split(np.asarray(values, float), ends)])


def equal_bits(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N, U) how many bits of each reading are those of each code."""
    return ((logits > 0)[:, None, :] == codes[None]).sum(axis=2)


def own_and_other(match: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) match with the owner's code, (N,) best match with another issued one."""
    rows = np.arange(len(match))
    others = np.array(match)
    others[rows, owners] = -1
    return match[rows, owners], others.max(axis=1)


def rows(cell: Cell) -> Iterator[Row]:
    """All numbers of what is read."""
    if cell.single:
        yield from bit_accuracy(cell)
        yield from verification(cell)
        yield from detection(cell)
        yield from matches(cell)
        yield from false_accusation(cell)
        yield from attribution(cell)
        yield from capacity(cell)
        yield from deepfake(cell)
    if cell.level == "coalition":
        yield from collusion(cell)
    if cell.level == "forgery":
        yield from forgery(cell)


# -- rows --------------------------------------------------------------------------------------


def row(metric: str, variant: str = "", value: float | None = None, **more: Any) -> Row:
    """A row as records have it."""
    plain = {"low": None, "high": None, "rule": "", "n": 0, "clusters": 0, "by_copy": []}
    found = {"metric": metric, "variant": variant, "value": value, "outcome": "done", "detail": {}}
    return found | plain | more


def interval_row(metric: str, variant: str, found: rules.Interval, **more: Any) -> Row:
    """A row of a value with its limits."""
    at = {"low": found.low, "high": found.high, "rule": found.rule}
    return row(metric, variant, found.value, **at, **more)


def not_supported(metric: str, variant: str = "", detail: Row | None = None) -> Row:
    """A row that the bits cannot give."""
    return row(metric, variant, outcome="not-supported", detail=detail or {})


def rate_row(
    cell: Cell,
    metric: str,
    variant: str,
    shares: np.ndarray,
    detail: Row | None = None,
    counts: np.ndarray | None = None,
) -> Row:
    """A rate of images in copies."""
    each = cell.counts if counts is None else counts
    hits = cell.per_copy(shares, each)
    more = {"n": int(each.sum()), "clusters": len(each), "by_copy": list(hits / each)}
    return interval_row(metric, variant, rules.rate(hits, each), detail=detail or {}, **more)


# -- what is read ------------------------------------------------------------------------------


def bit_accuracy(cell: Cell) -> Iterator[Row]:
    """Share of right bits, of images with all right, and of bits that another user's code has."""
    right = (cell.logits > 0) == cell.codes[cell.owners]
    detail = {
        "gate": cell.gate,
        "converged": bool(right.mean() >= cell.gate),
        "per_bit": list(1 - right.mean(axis=0)),
    }
    if cell.level == "none" and all(_alike(column["features"]) for column in cell.copies):
        detail["converged"] = False
    accuracy = _bits_row(cell, "", right, detail)
    if accuracy["high"] is not None and accuracy["high"] < 0.5:
        detail["inverted"] = True
    yield accuracy
    yield rate_row(cell, "bit-accuracy", "code", right.all(axis=1))
    if cell.level == "none":
        others = cell.codes[(cell.owners + 1) % len(cell.codes)]
        yield _bits_row(cell, "wrong-key", (cell.logits > 0) == others, {"chance": 0.5})


def _alike(features: np.ndarray) -> bool:
    """Whether a copy draws one image again and again, up to rounding."""
    apart = np.abs(features - features[0]).max()
    return len(features) > 1 and bool(apart <= 1e-5 * np.abs(features).max())


def _bits_row(cell: Cell, variant: str, right: np.ndarray, detail: Row) -> Row:
    read = cell.counts * cell.bits
    hits = cell.per_copy(right.sum(axis=1))
    more = {"n": len(right), "clusters": len(read), "by_copy": list(hits / read)}
    return interval_row("bit-accuracy", variant, rules.bits_mean(hits, read), detail=detail, **more)


def verification(cell: Cell) -> Iterator[Row]:
    """TPR of one claimed code, and what the same threshold does to images of others."""
    own, _ = own_and_other(cell.match, cell.owners)
    foreign = np.ones(cell.match.shape, dtype=bool)
    foreign[np.arange(len(foreign)), cell.owners] = False
    for rate in CLAIMED:
        t = rules.threshold(cell.bits, rate)
        if t is None:
            yield not_supported("verification", f"fpr={rate:g}")
            continue
        realised = {"other users": _claims(cell.match >= t, foreign)}
        for source in cell.negatives:
            hits = cell.of_nobody(source) >= t
            realised[source] = _claims(hits, np.ones(hits.shape, dtype=bool))
        exact = float(rules.tail(cell.bits, t))
        detail = {"threshold_bits": t, "false_rate_exact": exact, "realised": realised}
        yield rate_row(cell, "verification", f"fpr={rate:g}", own >= t, detail)


def _claims(hits: np.ndarray, asked: np.ndarray) -> Row:
    """Every image is shown to every code in `asked` (N, U); images are the clusters."""
    false = hits & asked
    found = {"images": len(hits), "codes": hits.shape[1]}
    found["worst_user"] = float((false.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)).max())
    if asked.sum(axis=1).min() == 0:
        return found | {"mean": None, "bound": 1.0}
    bound = rules.rate(false.sum(axis=1), asked.sum(axis=1), level=0.9)
    return found | {"mean": bound.value, "bound": bound.high}


def detection(cell: Cell) -> Iterator[Row]:
    """TPR of "somebody's", and AUROC of the best match."""
    best, n = cell.match.max(axis=1), cell.registered
    if cell.supported(n):
        at = {"registered": n, "false_rate": cell.false_rate, "threshold_bits": cell.threshold(n)}
        chances = np.quantile(np.log10(rules.any_tail(cell.bits, best, n)), QUANTILES)
        at["log10_p"] = dict(zip(map(str, QUANTILES), chances, strict=True))
        yield rate_row(cell, "detection", "", accused(cell, cell.match), at)
    else:
        yield not_supported("detection")
    nobody = np.concatenate([cell.of_nobody(source).max(axis=1) for source in cell.negatives])
    detail = {"negatives": len(nobody), "issued": len(cell.codes)}
    more = {"n": len(best), "clusters": len(cell.counts), "detail": detail}
    yield row("detection", "auroc", rules.auroc(best, nobody), **more)
    yield row("detection", "ap", rules.average_precision(best, nobody), **more | {"detail": {}})


def accused(cell: Cell, match: np.ndarray, more: int = 0) -> np.ndarray:
    """(N,) probability that anybody of the registered is accused; `more` further distractors."""
    t = cell.threshold(cell.registered)
    distractors = cell.registered - len(cell.codes) + more
    by_chance = rules.any_tail(cell.bits, t, distractors)
    return np.where(match.max(axis=1) >= t, 1.0, by_chance)


def unregistered(cell: Cell) -> np.ndarray:
    """(N,) the same of each image after its owner's code was replaced by another uniform one."""
    others = np.array(cell.match)
    others[np.arange(len(others)), cell.owners] = -1
    return accused(cell, others, more=1)


def matches(cell: Cell) -> Iterator[Row]:
    """Histograms of equal bits."""
    at: Row = {"bits": cell.bits, "registered": cell.registered}
    if cell.supported(cell.registered):
        at["threshold_bits"] = cell.threshold(cell.registered)
    own, _ = own_and_other(cell.match, cell.owners)
    found = {"copies": own} | {s: cell.of_nobody(s).ravel() for s in cell.negatives}
    for source, values in found.items():
        counts = [int((values == b).sum()) for b in range(cell.bits + 1)]
        mine = source == "copies"
        n = len(values) if mine else len(values) // len(cell.codes)
        clusters = len(cell.counts) if mine else 0
        yield row("matches", source, n=n, clusters=clusters, detail=at | {"counts": counts})


def false_accusation(cell: Cell) -> Iterator[Row]:
    """Images of nobody that are traced to somebody."""
    n = cell.registered
    if not cell.supported(n):
        for source in (*cell.negatives, "unregistered"):
            yield not_supported("false-accusation", source)
        return
    t = cell.threshold(n)
    distractors = rules.any_tail(cell.bits, t, n - len(cell.codes))
    by_chance = float(rules.any_tail(cell.bits, t, len(cell.codes)))
    for source in cell.negatives:
        match = cell.of_nobody(source)
        hits = int((match.max(axis=1) >= t).sum())
        high = 1 - (1 - rules.upper_bound(hits, len(match))) * (1 - distractors)
        detail = {
            "accused": hits,
            "allowed": cell.false_rate,
            "by_chance": by_chance,
            "worst_user_images": int((match >= t).sum(axis=0).max()),
        }
        more = {"n": len(match), "clusters": len(match), "high": float(high), "detail": detail}
        value = float(accused(cell, match).mean())
        yield row("false-accusation", source, value, rule="clopper-pearson, one-sided", **more)
    hits = cell.per_copy(unregistered(cell))
    bound = rules.rate(hits, cell.counts, level=0.9)  # its upper end is one-sided at 95 %
    yield row(
        "false-accusation",
        "unregistered",
        bound.value,
        high=bound.high,
        rule=f"{bound.rule}, one-sided",
        n=int(cell.counts.sum()),
        clusters=len(cell.counts),
        by_copy=list(hits / cell.counts),
        detail={"allowed": cell.false_rate, "codes": len(cell.codes)},
    )


# -- who is found ------------------------------------------------------------------------------


def attribution(cell: Cell) -> Iterator[Row]:
    """Open set among N users, from several images together, closed set."""
    wanted = [("", cell.registered), *((f"n={n}", n) for n in POPULATIONS)]
    for variant, n in wanted:
        yield _traced_row(cell, variant, n, cell.match, cell.owners, cell.counts)
    for m in TOGETHER:
        groups = cell.counts // m
        if groups.min() == 0:
            yield not_supported("attribution", f"m={m}")
            continue
        sums = []
        for column, whole in zip(cell.copies, groups, strict=True):
            used = column["logits"][: whole * m].astype(np.float64)
            sums.append(used.reshape(whole, m, -1).sum(axis=1))
        match = equal_bits(np.concatenate(sums), cell.codes)
        owners = np.repeat([u[0] for u in cell.users], groups)
        yield _traced_row(cell, f"m={m}", cell.registered, match, owners, groups)
    own, other = own_and_other(cell.match, cell.owners)
    detail = {"registered": len(cell.codes)}
    yield rate_row(cell, "attribution", "closed", own > other, detail)


def traced(
    cell: Cell, n: int, match: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) probabilities of right, wrong, none among n users; a tie of the best match is wrong."""
    t, distractors = cell.threshold(n), n - len(cell.codes)
    own, other = own_and_other(match, owners)
    unbeaten = 1 - rules.any_tail(cell.bits, own, distractors)
    right = np.where((own >= t) & (own > other), unbeaten, 0.0)
    somebody = np.where(other >= t, 1.0, rules.any_tail(cell.bits, t, distractors))
    none = np.where(own >= t, 0.0, 1 - somebody)
    return right, 1 - right - none, none


def _traced_row(
    cell: Cell,
    variant: str,
    n: int,
    match: np.ndarray,
    owners: np.ndarray,
    counts: np.ndarray,
) -> Row:
    if not cell.supported(n):
        return not_supported("attribution", variant)
    right, wrong, none = traced(cell, n, match, owners)
    detail = {
        "registered": n,
        "false_rate": cell.false_rate,
        "threshold_bits": cell.threshold(n),
        "wrong": float(wrong.mean()),
        "none": float(none.mean()),
        "issued": len(cell.codes),
    }
    return rate_row(cell, "attribution", variant, right, detail, counts)


def capacity(cell: Cell) -> Iterator[Row]:
    """Bits through a binary symmetric channel, and the largest power of ten of users traced.

    Bits that are read alike from every image tell nobody anything, where the codes do differ in
    them.
    """
    read, codes = cell.logits > 0, cell.codes[cell.owners]
    dead = (read == read[0]).all(axis=0) & (codes != codes[0]).any(axis=0)
    error = float((read != codes)[:, ~dead].mean()) if not dead.all() else None
    bits = 0.0 if error is None else rules.capacity(int((~dead).sum()), error)
    at = {"n": len(cell.logits), "clusters": len(cell.counts)}
    about = {"bit_error_rate": error, "dead_bits": int(dead.sum())}
    yield row("capacity", "", bits, detail=about, **at)
    grid = [10**e for e in range(1, 19) if 10**e >= len(cell.codes)]
    possible = [n for n in grid if rules.supported(cell.bits, n, cell.false_rate)]
    if not possible:
        yield not_supported("capacity", "users")
        return
    rates = {}
    for n in possible:
        right, _, _ = traced(cell, n, cell.match, cell.owners)
        rates[n] = rules.rate(cell.per_copy(right), cell.counts)
    detail = {"false_rate": cell.false_rate, "least_traced": TRACED, "supported": possible[-1]}
    surely = [n for n, found in rates.items() if found.low >= TRACED]
    if not surely:
        yield not_supported("capacity", "users", detail)
        return
    best = rates[max(surely)]
    detail |= {"traced": best.value, "traced_low": best.low}
    yield row("capacity", "users", float(max(surely)), detail=detail, **at)


def deepfake(cell: Cell) -> Iterator[Row]:
    """Real or generated, and by which issued model."""
    if "real" not in cell.negatives:
        return
    real = cell.of_nobody("real")
    at = {"n": len(cell.logits), "clusters": len(cell.counts)}
    area = rules.auroc(cell.match.max(axis=1), real.max(axis=1))
    yield row("deepfake", "auroc", area, detail={"real": len(real)}, **at)
    own, other = own_and_other(cell.match, cell.owners)
    yield rate_row(cell, "deepfake", "closed", own > other, {"models": len(cell.codes)})
    if not cell.supported(cell.registered):
        yield not_supported("deepfake", "detection")
        yield not_supported("deepfake", "open")
        return
    found = cell.per_copy(accused(cell, cell.match))
    spared, each = 1 - accused(cell, real), np.ones(len(real))
    right = cell.per_copy(traced(cell, cell.registered, cell.match, cell.owners)[0])
    unknown = cell.per_copy(1 - unregistered(cell))
    yield halves_row("deepfake", "detection", (found, cell.counts), (spared, each))
    yield halves_row("deepfake", "open", (right, cell.counts), (unknown, cell.counts))


Counted = tuple[np.ndarray, np.ndarray]


def halves_row(
    metric: str, variant: str, first: Counted, second: Counted, detail: Row | None = None
) -> Row:
    """The mean of two rates, each (hits, counts) of clusters."""
    a, b = rules.rate(*first), rules.rate(*second)
    both = (detail or {}) | {"copies": a.value, "others": b.value}
    n = int(first[1].sum() + second[1].sum())
    return interval_row(
        metric, variant, rules.halves(a, b), n=n, clusters=len(first[1]), detail=both
    )


# -- who is blamed -----------------------------------------------------------------------------


def collusion(cell: Cell) -> Iterator[Row]:
    """Everybody above the threshold is accused; beside it, whoever is alone there, or the best."""
    names = ("traced", "traced-and-framed", "framed", "lost")
    rules_of_one = ("@exactly-one", "@best-match")
    single = [f"{name}{rule}" for rule in rules_of_one for name in ("traced", "framed", "lost")]
    n = cell.registered
    if not cell.supported(n):
        yield from (not_supported("collusion", name) for name in (*names, *single))
        return
    t = cell.threshold(n)
    members = np.zeros(cell.match.shape, dtype=bool)
    start = 0
    for users, count in zip(cell.users, cell.counts, strict=True):
        members[start : start + count, list(users)] = True
        start += count
    above = cell.match >= t
    caught = (above & members).any(axis=1)
    by_chance = rules.any_tail(cell.bits, t, n - len(cell.codes))
    framed = np.where((above & ~members).any(axis=1), 1.0, by_chance)
    detail = {
        "coalition": len(cell.users[0]),
        "registered": n,
        "false_rate": cell.false_rate,
        "threshold_bits": t,
        "members_accused": float((above & members).sum() / len(above)),
        "member_match": float(cell.match[members].mean() / cell.bits),
    }
    shares = (caught * (1 - framed), caught * framed, ~caught * framed, ~caught * (1 - framed))
    others = n - len(cell.codes)
    one = rules.law.binom.pmf(1, others, rules.tail(cell.bits, t))
    clean = (above.sum(axis=1) == 0) * one
    alone = above.sum(axis=1) == 1
    traced = (alone & caught) * (1 - by_chance)
    framed = (alone & ~caught) * (1 - by_chance) + clean
    shares += (traced, framed, 1 - traced - framed)
    best = np.where(members, cell.match, -1).max(axis=1)
    rival = np.where(members, -1, cell.match).max(axis=1)
    traced = ((best >= t) & (best > rival)) * (1 - rules.any_tail(cell.bits, best, others))
    accused = np.maximum((best >= t) | (rival >= t), by_chance)
    shares += (traced, accused - traced, 1 - accused)
    for name, share in zip((*names, *single), shares, strict=True):
        yield rate_row(cell, "collusion", name, share, detail)


def forgery(cell: Cell) -> Iterator[Row]:
    """Forged images that lead to the victim."""
    own, _ = own_and_other(cell.match, cell.owners)
    if cell.supported(cell.registered):
        t = cell.threshold(cell.registered)
        detail = {
            "registered": cell.registered,
            "false_rate": cell.false_rate,
            "threshold_bits": t,
            "by_chance": float(rules.tail(cell.bits, t)),
        }
        yield rate_row(cell, "forgery", "", own >= t, detail)
    else:
        yield not_supported("forgery")
    yield rate_row(cell, "forgery", "match", own / cell.bits)
