"""fpbench's own data sets, metrics and the rest, through the same hooks as everybody's."""

from __future__ import annotations

from typing import Any

from fpbench.api import (
    Attack,
    Cluster,
    Code,
    Dataset,
    Executor,
    Host,
    Method,
    Metric,
    Modality,
    hookimpl,
)
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.chain.attack import Chain
from fpbench.builtin.codes.bch import Bch
from fpbench.builtin.codes.tardos import Tardos
from fpbench.builtin.codes.uniform import Uniform
from fpbench.builtin.codes.weighted import Weighted
from fpbench.builtin.image.modality import Image
from fpbench.builtin.image_folder.dataset import ImageFolder
from fpbench.builtin.local.executor import LocalExecutor
from fpbench.builtin.metrics.blame import Collusion, Forgery
from fpbench.builtin.metrics.fidelity import CodeInfluence, Damage, Fidelity, Imperceptibility
from fpbench.builtin.metrics.keyed import Attributability
from fpbench.builtin.metrics.nulls import UnmarkedBits
from fpbench.builtin.metrics.published import ClipScore, Fid, Kid, PrecisionRecall
from fpbench.builtin.metrics.reading import (
    BitAccuracy,
    Detection,
    FalseAccusation,
    Matches,
    Verification,
)
from fpbench.builtin.metrics.secrecy import Secrecy
from fpbench.builtin.metrics.spending import AttackCost, Cost, Training
from fpbench.builtin.metrics.tracing import Attribution, Capacity, Deepfake
from fpbench.builtin.published_sets.datasets import PUBLISHED
from fpbench.builtin.ray.cluster import RayCluster
from fpbench.builtin.self_marked.host import Originals
from fpbench.builtin.self_marked.method import SelfMarked
from fpbench.builtin.slurm.cluster import SlurmCluster
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.builtin.toy_speech.dataset import ToySpeech


@hookimpl
def fpbench_modalities() -> list[type[Modality[Any]]]:
    """Kinds of samples."""
    return [Image, Audio]


@hookimpl
def fpbench_datasets() -> list[type[Dataset[Any]]]:
    """Data sets."""
    return [ToyFaces, ToySpeech, ImageFolder, *PUBLISHED]


@hookimpl
def fpbench_hosts() -> list[type[Host[Any]]]:
    """Images that were marked elsewhere, before."""
    return [Originals]


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """... and after."""
    return [SelfMarked]


@hookimpl
def fpbench_codes() -> list[type[Code[Any]]]:
    """Codes."""
    return [Uniform, Weighted, Bch, Tardos]


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Composites."""
    return [Chain]


@hookimpl
def fpbench_metrics() -> list[type[Metric[Any]]]:
    """Metrics; their order is the order of the records."""
    return [
        BitAccuracy,
        Attribution,
        Attributability,
        Detection,
        Verification,
        FalseAccusation,
        Matches,
        UnmarkedBits,
        Capacity,
        Deepfake,
        Secrecy,
        Collusion,
        Forgery,
        Imperceptibility,
        CodeInfluence,
        Damage,
        Fidelity,
        Fid,
        Kid,
        PrecisionRecall,
        ClipScore,
        Cost,
        AttackCost,
        Training,
    ]


@hookimpl
def fpbench_clusters() -> list[type[Cluster[Any]]]:
    """Where stages run elsewhere."""
    return [SlurmCluster, RayCluster]


@hookimpl
def fpbench_executors() -> list[type[Executor[Any]]]:
    """Executors."""
    return [LocalExecutor]
