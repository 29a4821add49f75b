"""Measures of who is blamed: for the images of a coalition, and for forged ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpbench.api import Card, CellEvidence, Metric, NoParams, Row
from fpbench.builtin.metrics import shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Collusion(Metric[NoParams]):
    """Whom the images of a coalition lead to, when everybody above the threshold is accused."""

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
        "(lost).",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "traced", "traced-and-framed", "framed" and "lost"; clusters are coalitions."""
        import numpy as np

        from fpbench import stats

        if evidence.level != "coalition":
            return []
        k, n, rate = evidence.codes.shape[1], evidence.registered, evidence.false_rate
        names = ("traced", "traced-and-framed", "framed", "lost")
        if not shared.supported(evidence):
            return [shared.not_supported(evidence, name) for name in names]
        counts = shared.image_counts(evidence)
        match = shared.match_of(evidence, _logits(evidence))
        members = np.repeat(np.array(evidence.users), counts, axis=0)
        found = stats.collusion(match, members, *shared.asked(evidence))
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
        values = (found.traced, found.traced_and_framed, found.framed, found.lost)
        return [
            shared.rate_row(value, counts, name, detail)
            for name, value in zip(names, values, strict=True)
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
