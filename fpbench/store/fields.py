"""What each field of a record says: of the rows that a run writes and a board keeps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "record_id": "SHA-256 of what the record says; two records with one name are one.",
        "schema_version": "of these fields; older records are migrated when they are read.",
        "supersedes": "the `record_id` that this one took the place of; null if none.",
        "created_utc": "when the number was made.",
        "command": "the command that was run.",
        "suite": "name, version and seed.",
        "dataset": "name, version, parameters, and the distribution that offers it.",
        "host": "the same of the host.",
        "method": "the same of the method, with label, placement, what it gives and reads, bits, "
        "how codes are drawn, and the packages of its distribution.",
        "training_seed": "index of the training.",
        "point": "what was done to the images: label, attack on the model and on the image, each "
        "with strength, family, access, tier, steps and clean images.",
        "level": "what was attacked: none, image, model, coalition or forgery.",
        "tier": "of the score in which the point counts: samples, copy or training; empty if in "
        "none by itself.",
        "budget": "most damage at which the point counts.",
        "damage": "of the attack, in what the budget is in.",
        "effect": "why an attack counts nowhere: it left the mark as it was.",
        "modality": "of the samples: image or audio.",
        "sample": "shape, type and rate of one sample.",
        "cell": "key of method, training seed and point; `fpbench why` follows it.",
        "metric": "which measure; empty where the whole cell has no number.",
        "metric_version": "raised when its numbers must not be compared with older ones.",
        "variant": "which of the numbers that the measure has for one cell.",
        "unit": "of the value; empty for a share.",
        "higher_is_better": "null where neither end is good.",
        "value": "the number; null where there is none.",
        "low": "lower limit of its interval, 95 %.",
        "high": "upper limit of its interval.",
        "rule": "how the interval was made.",
        "n": "images, or what else was counted.",
        "clusters": "copies, or what else is independent of one another.",
        "by_copy": "the value of each copy, in order; what comparisons are paired by.",
        "outcome": "done, refused, not-supported, unavailable, failed, out-of-memory, timed-out or "
        "blocked.",
        "reason": "why there is no number, in a sentence.",
        "detail": "what else belongs to the number: threshold and its rule, rates of every source "
        "of negatives with bounds and counts, the host's number beside the copies'; `no_claim` "
        "says why it is shown but claims nothing.",
        "cost": "seconds and memory of the training, of a further user, of reading an image.",
        "environment": "Python, torch, device, threads, codecs and packages that computed it.",
        "inputs": "keys and payload digests of the artefacts that the number stands on.",
    }
)
