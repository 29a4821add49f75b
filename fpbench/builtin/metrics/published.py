"""Fidelity in the networks that published numbers stand on.

Called FID only with the published weights at the standard layer; everything else says what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpbench.api import BackboneEvidence, Card, CellEvidence, Metric, NoParams, Row
from fpbench.builtin.metrics.fidelity import (
    FeatureSets,
    distance_row,
    feature_sets,
    mean_row,
    unavailable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _networks(evidence: CellEvidence) -> Iterable[BackboneEvidence]:
    """The Inception networks of cells whose copies' own images are read."""
    if evidence.level in ("image", "forgery"):
        return []
    return [backbone for backbone in evidence.backbones if backbone.features]


def _about(backbone: BackboneEvidence) -> dict[str, object]:
    return {
        "layer": backbone.name,
        "published_weights": backbone.published,
        "weights_sha256": backbone.digest,
        "interpolation": "bilinear to 299 pixels, as TensorFlow 1 (torch-fidelity)",
        "reference": len(backbone.real["features"]),
    }


class Fid(Metric[NoParams]):
    """Fréchet Inception distance of copies and host to real images, equal counts."""

    name = "fid"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, None)
    card = Card(
        "FID",
        "Heusel et al. 2017; network of torch-fidelity",
        "Apache-2.0",
        "Fréchet distance in Inception's features. FID-768 and other layers have a scale of their "
        "own and cannot be compared with FID.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each layer, "2048" being what is called FID."""
        from fpbench.stats import Reference

        rows = []
        for backbone in _networks(evidence):
            if backbone.reason:
                rows.append(unavailable(backbone, backbone.name))
                continue
            sets = feature_sets(evidence, f"{backbone.name}_features", _host(backbone))
            real = Reference(*(backbone.real[key] for key in ("mean", "covariance", "root")))
            rows.append(distance_row(backbone.name, sets, real, _about(backbone), evidence))
        return rows


class Kid(Metric[NoParams]):
    """Kernel Inception distance of untouched copies and host to real images."""

    name = "kid"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (None, None)
    card = Card(
        "KID",
        "Binkowski et al. 2018; torch-fidelity",
        "Apache-2.0",
        "Unbiased polynomial-kernel distance in Inception's features: fit for few images.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each layer."""
        from fpbench.backbones.distances import kid

        rows = []
        for backbone in _networks(evidence) if evidence.level == "none" else ():
            if backbone.reason:
                rows.append(unavailable(backbone, backbone.name))
                continue
            sets = feature_sets(evidence, f"{backbone.name}_features", _host(backbone))
            real = backbone.real["features"]
            own, host = kid(real, sets.own), kid(real, sets.host)
            detail = {**_about(backbone), "host": host.value}
            detail |= {"spread": own.spread, "subset": own.subset, "subsets": own.subsets}
            rows.append(_row(backbone.name, own.value, sets, evidence, detail))
        return rows


class PrecisionRecall(Metric[NoParams]):
    """Share of copies' images that look real, and of real ones that copies can make."""

    name = "precision-recall"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Precision and recall",
        "Kynkäänniemi et al. 2019; torch-fidelity",
        "Apache-2.0",
        "Manifolds of 3 nearest neighbours in Inception's features, as many real as own images.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "precision" and "recall" for each layer, of untouched copies."""
        from fpbench.backbones.distances import precision_recall

        rows = []
        for backbone in _networks(evidence) if evidence.level == "none" else ():
            variants = [f"{v}@{backbone.name}" for v in ("precision", "recall")]
            if backbone.reason:
                rows += [unavailable(backbone, variant) for variant in variants]
                continue
            sets = feature_sets(evidence, f"{backbone.name}_features", _host(backbone))
            real = backbone.real["features"][: len(sets.own)]
            own, host = precision_recall(real, sets.own), precision_recall(real, sets.host)
            for variant, value, beside in zip(variants, own, host, strict=True):
                detail = {**_about(backbone), "host": beside, "reference": len(real)}
                rows.append(_row(variant, value, sets, evidence, detail))
        return rows


class ClipScore(Metric[NoParams]):
    """How well copies' images fit the captions that they were drawn by."""

    name = "clip-score"
    version = "1"
    Params = NoParams
    of_captions = True
    unit = "100 cos"
    higher_is_better = True
    bounds = (0.0, 100.0)
    card = Card(
        "CLIP score",
        "Hessel et al. 2021; as torchmetrics has it, network of transformers",
        "Apache-2.0",
        "Mean of 100 max(cos, 0) of CLIP's features of an image and of its caption. Hessel et al., "
        "and papers after them, print 2.5 max(cos, 0): a fortieth of it.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each network of CLIP; beside it host images and real ones."""
        rows = []
        for backbone in evidence.backbones if evidence.level not in ("image", "forgery") else ():
            if not backbone.captions:
                continue
            if backbone.reason:
                rows.append(unavailable(backbone, backbone.name))
                continue
            row = mean_row(evidence.copies, f"{backbone.name}_score", backbone.name, most=100.0)
            beside = {
                "host": float(_host(backbone).mean()),
                "real": float(backbone.real["score"].mean()),
                "weights_sha256": backbone.digest,
            }
            rows.append(replace(row, detail={**row.detail, **beside}))
        return rows


def _row(
    variant: str,
    value: float,
    sets: FeatureSets,
    evidence: CellEvidence,
    detail: Mapping[str, object],
) -> Row:
    return Row(variant, value, n=len(sets.own), clusters=len(evidence.copies), detail=detail)


def _host(backbone: BackboneEvidence) -> NDArray[Any]:
    assert backbone.host is not None  # there wherever the network is
    return backbone.host
