"""What a method gives and reads, in words, and which numbers have no meaning for it."""

from __future__ import annotations

BITS, SCORES, PRESENCE = "bits", "scores", "presence"
SAMPLES, WEIGHTS = "samples", "weights"

GATES = {
    BITS: ("bit-accuracy", "", "bit accuracy"),
    SCORES: ("attribution", "closed", "closed-set accuracy"),
    PRESENCE: ("detection", "auroc", "AUROC"),
}
"""What a method gives -> metric and variant whose detail says whether it converged, and words."""
GIVEN = {
    SCORES: "scores, one for each registered user",
    PRESENCE: "presence, one score that knows no users",
}
_OF_BITS = frozenset({"bit-accuracy", "capacity", "matches", "unmarked-bits"})
_OF_USERS = frozenset({"attribution", "verification", "false-accusation", "collusion", "forgery"})
_OF_MODELS = frozenset(
    {("deepfake", "closed"), ("deepfake", "open"), ("detection", "on unregistered")}
)


def unasked(gives: str, reads: str, metric: str, variant: str) -> str:
    """Why a number is not measured of such a method, by rule; empty if there is no such rule."""
    if gives != BITS and metric in _OF_BITS:
        return f"the method gives {gives}, no bits"
    if gives == PRESENCE and (metric in _OF_USERS or (metric, variant) in _OF_MODELS):
        return "the method tells no users apart: it says whether an image is marked at all"
    if gives == SCORES and (metric, variant) == ("deepfake", "open"):
        return "scores of a user depend on who else is registered, so that none can be left out"
    if reads == WEIGHTS and (metric == "deepfake" or variant == "real"):
        return "the method reads weights, and real images have none"
    return ""
