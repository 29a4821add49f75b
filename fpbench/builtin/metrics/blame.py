"""Measures of who is blamed: for the images of a coalition, and for forged ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import Card, CellEvidence, Metric, NoParams, Row
from fpbench.builtin.metrics import shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rule = Literal["all", "one", "best"]

_RULES: tuple[Rule, ...] = ("all", "one", "best")
_OUTCOMES: dict[str, tuple[Rule, str]] = {
    "traced": ("all", "traced"),
    "traced-and-framed": ("all", "traced_and_framed"),
    "framed": ("all", "framed"),
    "lost": ("all", "lost"),
    "traced@exactly-one": ("one", "traced"),
    "framed@exactly-one": ("one", "framed"),
    "lost@exactly-one": ("one", "lost"),
    "traced@best-match": ("best", "traced"),
    "framed@best-match": ("best", "framed"),
    "lost@best-match": ("best", "lost"),
}
"""Variant of a row -> who is accused, and what of it is counted."""


class Collusion(Metric[NoParams]):
    """Whom the images of a coalition lead to."""

    name = "collusion"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = None
    bounds = (0.0, 1.0)
    card = Card(
        "Collusion",
        "open set, exact distractors",
        "Apache-2.0",
        "Shares of a coalition's images that lead to members only (traced), to members and to "
        "somebody innocent (traced and framed), to somebody innocent only (framed), to nobody "
        "(lost), when everybody above the threshold is accused. Beside them the same where nobody "
        "is accused unless exactly one is above it, and where the best match is.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "traced", "traced-and-framed", "framed", "lost"; clusters are coalitions.

        Beside them "traced@exactly-one" and "traced@best-match" and so on; rules that accuse one
        user at most have no "traced-and-framed".
        """
        import numpy as np

        from fpbench import stats

        if evidence.level != "coalition":
            return []
        if not shared.supported(evidence):
            return [shared.not_supported(evidence, name) for name in _OUTCOMES]
        k, n, rate = evidence.codes.shape[1], evidence.registered, evidence.false_rate
        counts = shared.image_counts(evidence)
        match = shared.match_of(evidence, _logits(evidence))
        members = np.repeat(np.array(evidence.users), counts, axis=0)
        t = shared.threshold_of(evidence)
        theirs = np.stack([match.of(column) for column in members.T], axis=1)
        detail = {
            "coalition": len(evidence.users[0]),
            "registered": n,
            "false_rate": rate,
            **shared.told(t),
            "members_accused": float((theirs >= t).sum(axis=1).mean()),
        }
        if evidence.uniform:
            detail["member_match"] = float(theirs.mean() / k)
        asked = shared.asked(evidence)
        found = {rule: stats.collusion(match, members, *asked, rule=rule) for rule in _RULES}
        return [
            shared.rate_row(getattr(found[rule], outcome), counts, name, detail)
            for name, (rule, outcome) in _OUTCOMES.items()
        ]


class Forgery(Metric[NoParams]):
    """False accusation of the user whom forged images are to be blamed on."""

    name = "forgery"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, 1.0)
    card = Card(
        "Forgery",
        "exact binomial tail over the registered codes",
        "Apache-2.0",
        "Share of forged images whose match with the victim's code reaches the threshold, so that "
        "an innocent user is accused.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Row "" (the victim), and "match", the share of the victim's bits in a forged image."""
        import numpy as np

        if evidence.level != "forgery":
            return []
        k = evidence.codes.shape[1]
        counts = shared.image_counts(evidence)
        victims = np.repeat([users[0] for users in evidence.users], counts)
        match = shared.match_of(evidence, _logits(evidence)).of(victims)
        share = [shared.rate_row(match / k, counts, "match")] if evidence.uniform else []
        if not shared.supported(evidence):
            return [shared.not_supported(evidence), *share]
        t = shared.threshold_of(evidence)
        detail = {
            "registered": evidence.registered,
            "false_rate": evidence.false_rate,
            **shared.told(t),
            # What one innocent user risks from any image that has nothing to do with him.
            "by_chance": shared.claim_tail(evidence, t),
        }
        return [shared.rate_row(match >= t, counts, detail=detail), *share]


def _logits(evidence: CellEvidence) -> NDArray[np.float32]:
    """(N, K) of the images of all columns."""
    import numpy as np

    return np.concatenate([np.asarray(column["logits"]) for column in evidence.copies])
