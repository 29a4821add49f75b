"""The resolved suite: what is run, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from fpbench.api import Attack, Code, Component, Dataset, ForgeryAttack, Host, Method, Params
from fpbench.api.params import Command, local_names, marked_names

Count = Annotated[int, Field(ge=1)]


LEFT_OUT = "left out"
"""What records, pages and bundles show of commands and functions that a suite brings."""


class Header(Params):
    """What the suite is called.

    Attributes:
        name: lower-case words joined by hyphens; also the run's folder.
        version: raised when numbers of two versions must not be compared.
        title: one line for the page.
        description: what the suite can and cannot say, for the page.
        seed: root of all randomness.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: Count = 1
    title: str = ""
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0


class Training(Params):
    """How methods are trained, and how often.

    Attributes:
        seeds: training-seed indices; each trains every method once more.
        precision: of the products in trainings; "bf16" keeps weights and sums in float32. TF32 is
            off in both. Everything else is computed in float32.
        snapshots: states that host, and methods with a generator of their own, keep while they are
            trained, evenly spaced, the last among them; the one whose images have the smallest FID
            to training images is used. 0 = only the last.
    """

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    precision: Literal["fp32", "bf16"] = "fp32"
    snapshots: Annotated[int, Field(ge=0)] = 0


class Population(Params):
    """The issued copies.

    Attributes:
        copies: number of users U who get a copy.
        images: images drawn from each copy.
        shared: images of latents that all copies and the host share, for sample sheets, and for
            comparing two codes at one latent, of which numbers are kept.
        unregistered: copies of users outside the registry, of methods whose scores of a user depend
            on who else is registered; None = none.
    """

    copies: Annotated[int, Field(ge=2)] = 30
    images: Count = 18
    shared: Count = 8
    unregistered: Count | None = None


class Negatives(Params):
    """Images that carry no issued code.

    Attributes:
        real: real images of the test split.
        host: host images, of which distances are made too.
        attacked_host: images of the host under each model attack.
    """

    real: Count = 1000
    host: Annotated[int, Field(ge=2)] = 1000
    attacked_host: Count = 250


class Secrecy(Params):
    """A detector that tries to see that images are fingerprinted; half of the copies teach it.

    Attributes:
        steps: of its training; 0 = not tried.
        images: drawn from each copy.
    """

    steps: Annotated[int, Field(ge=0)] = 0
    images: Count = 64


class Limits(Params):
    """What a run may take. No number depends on it, so it is in no key and told by no board.

    Attributes:
        stage_hours: hours after which a stage is ended; None = never.
    """

    stage_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Score(Params):
    """Where methods are compared.

    Attributes:
        registered: number of registered users N.
        false_rate: family-wise error α of an accusation per image.
        damage_budget: largest damage D of a model attack that counts: the Fréchet distance that it
            adds to the copy's own, as a share of the host's.
        sample_budget: largest damage of an attack on samples that counts, of images 1 - SSIM; None
            = what their modality names, 0.25 for images.
        training_steps: steps that an adversary who trains may spend.
        clean_samples: clean samples that he may own.
        damage_by: the distance that is meant: of the network that comes with fpbench, which is
            there on every machine, or of the Inception network among the suite's backbones.
    """

    registered: Annotated[int, Field(ge=2)] = 100
    false_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    damage_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    sample_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    training_steps: Annotated[int, Field(ge=0)] = 1000
    clean_samples: Annotated[int, Field(ge=0)] = 1000
    damage_by: Literal["frechet-proxy", "fid"] = "frechet-proxy"


class Backbone(Params):
    """A published network whose features or distances are measured; its weights may be missing.

    Attributes:
        use: "inception" for FID, KID, precision and recall; CLIP's for scores of captions; LPIPS of
            three networks; of sounds "pesq" and "stoi", which have no weights.
        layer: of Inception; only 2048 gives what is called FID.
        sha256: digest of other weights than the published ones; numbers say so.
        precision: of Inception's arithmetic; bf16 moves FID by less than 1 %.
    """

    use: Literal[
        "inception",
        "lpips-squeeze",
        "lpips-alex",
        "lpips-vgg",
        "clip-vit-base-patch16",
        "clip-vit-base-patch32",
        "clip-vit-large-patch14",
        "pesq",
        "stoi",
    ]
    layer: Literal["64", "192", "768", "2048"] = "2048"
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def name(self) -> str:
        """Of its arrays and of the variants of its numbers: "2048", "768", "lpips-squeeze"."""
        return self.layer if self.use == "inception" else self.use


class AttackOptions(Params):
    """What a suite may say of any attack beside its strength and parameters.

    Attributes:
        label: its name on the page, if not the attack's own.
        scored: strengths of an image attack that count in the score; all if empty.
        samples: strengths of a geometric image attack that an adversary who holds images alone may
            choose, since no measure of damage judges pixels that moved; those scored if empty.
        copies: number of copies it is run on; None = all.
        images: images drawn from each attacked copy; None = as the population.
        clean_images: images of the test split that the adversary owns.
        tune: parameter -> values that the adversary tries on copies that are not reported, to keep
            the one that serves him best against each method; only for attacks on one copy.
    """

    label: str | None = None
    scored: tuple[float, ...] = ()
    samples: tuple[float, ...] = ()
    copies: Count | None = None
    images: Count | None = None
    clean_images: Annotated[int, Field(ge=0)] = 0
    tune: Annotated[
        dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(default_factory=dict)
    ]


class MethodOptions(Params):
    """What a suite may say of any method beside its parameters.

    Attributes:
        label: its name on the page, if not the method's own.
        copies: number of copies that it issues; None = as the population. For methods that train
            to issue.
        codes: how codes are drawn: a name, or a table with a key `use` and parameters; for methods
            that give bits.
    """

    label: str | None = None
    copies: Annotated[int, Field(ge=2)] | None = None
    codes: str | dict[str, Any] = "uniform"


TABLES: Mapping[str, type[Params]] = MappingProxyType(
    {
        "suite": Header,
        "training": Training,
        "population": Population,
        "negatives": Negatives,
        "secrecy": Secrecy,
        "limits": Limits,
        "score": Score,
        "methods": MethodOptions,
        "attacks": AttackOptions,
        "backbones": Backbone,
    }
)
"""Tables of a suite whose keys are no component's, and what they are."""


@dataclass(frozen=True)
class SuiteMethod:
    """A method with its label on the page.

    Attributes:
        label: name on the page.
        component: the method.
        code: how its codes are drawn.
        options: what the suite says beside.
    """

    label: str
    component: Method[Any]
    code: Code[Any]
    options: MethodOptions


@dataclass(frozen=True)
class Stranger:
    """A generator whose images are nobody's: one more source of images that a method may detect.

    Attributes:
        label: name on the page.
        component: the host that is trained as one.
    """

    label: str
    component: Host[Any]


def point_label(attack: str, strength: float | None) -> str:
    """An attack at a strength as people write it: "jpeg 50"."""
    return attack if strength is None else f"{attack} {strength:g}"


def joint_label(*parts: str) -> str:
    """What is done one after the other: "none", "jpeg 50", "fine-tune 10 + jpeg 50"."""
    return " + ".join(parts) or "none"


@dataclass(frozen=True, eq=False)
class SuiteAttack:
    """An attack at some strengths; each table of a suite is another one.

    Attributes:
        label: name on the page.
        component: the attack.
        strengths: from weakest to strongest; empty for an attack without a knob.
        options: what the suite says beside.
        candidates: the attack at every combination of the tuned parameters; empty if none is.
    """

    label: str
    component: Attack[Any]
    strengths: tuple[float, ...]
    options: AttackOptions
    candidates: tuple[Attack[Any], ...] = ()

    @property
    def points(self) -> tuple[float | None, ...]:
        """Its strengths; None alone where it has no knob."""
        return self.strengths or (None,)


@dataclass(frozen=True)
class Cross:
    """A model attack followed by an image attack, at all their strengths."""

    model: str
    image: str


@dataclass(frozen=True)
class UnavailableComponent:
    """Something the suite names that a broken plugin should have offered.

    Attributes:
        kind: "methods" or "attacks".
        label: name on the page.
        reason: why, and what to do.
    """

    kind: str
    label: str
    reason: str


@dataclass(frozen=True)
class Suite:
    """Everything a run needs to know."""

    header: Header
    training: Training
    population: Population
    negatives: Negatives
    secrecy: Secrecy
    limits: Limits
    score: Score
    dataset: Dataset[Any]
    host: Host[Any]
    methods: tuple[SuiteMethod, ...]
    attacks: tuple[SuiteAttack, ...]
    crosses: tuple[Cross, ...]
    backbones: tuple[Backbone, ...] = ()
    unavailable: tuple[UnavailableComponent, ...] = ()
    strangers: tuple[Stranger, ...] = ()

    def users(self, method: SuiteMethod) -> int:
        """How many copies of a method are issued to registered users."""
        return method.options.copies or self.population.copies

    @property
    def clean_from(self) -> int:
        """Index in the test split of the first clean image an adversary owns: behind negatives."""
        return self.negatives.real

    @property
    def carriers_from(self) -> int:
        """Index in the test split of the first image that a forgery starts from: behind these."""
        owned = (attack.options.clean_images for attack in self.attacks)
        return self.clean_from + max(owned, default=0)

    @property
    def carriers(self) -> int:
        """Clean images that forgeries start from: as many as are drawn from one copy at most."""
        forged = [
            attack.options.images or self.population.images
            for attack in self.attacks
            if isinstance(attack.component, ForgeryAttack)
        ]
        return max(forged, default=0)

    @property
    def pictures_from(self) -> int:
        """Index in the test split of the first that a host of pictures shows: behind all others."""
        return self.carriers_from + self.carriers

    def resolved(self) -> dict[str, Any]:
        """Plain data that says all of it, for the page and for submissions."""
        return {
            "suite": self.header.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "population": self.population.model_dump(mode="json"),
            "negatives": self.negatives.model_dump(mode="json"),
            "secrecy": self.secrecy.model_dump(mode="json"),
            "score": self.score.model_dump(mode="json"),
            "dataset": {**_described(self.dataset), "drawn": self.dataset.drawn},
            "host": _described(self.host),
            "methods": [self._told(method) for method in self.methods],
            "attacks": [
                {
                    **a.options.model_dump(mode="json"),
                    **_described(a.component),
                    "label": a.label,
                    "strengths": list(a.strengths),
                }
                for a in self.attacks
            ],
            "crosses": [{"model": c.model, "image": c.image} for c in self.crosses],
            "backbones": [b.model_dump(mode="json") for b in self.backbones],
            "strangers": [{"label": s.label, **_described(s.component)} for s in self.strangers],
        }

    @property
    def opening(self) -> list[tuple[str, Component[Any]]]:
        """What may open files that are brought by hand, each with what it is called."""
        return [
            (f"host {self.host.name}", self.host),
            *((f"stranger {each.label}", each.component) for each in self.strangers),
            *((f"method {each.label}", each.component) for each in self.methods),
            *((f"attack {each.label}", each.component) for each in self.attacks),
        ]

    def _told(self, method: SuiteMethod) -> dict[str, Any]:
        component = method.component
        told = {"label": method.label, **_described(component), "copies": self.users(method)}
        told |= {"gives": str(component.gives), "reads": str(component.reads)}
        told["trains"] = component.trains
        return told | ({"codes": _described(method.code)} if component.bits else {})


def _described(component: Any) -> dict[str, Any]:
    told = {**component_json(component), "card": asdict(component.card)}
    return told | ({"assets": dict(component.assets)} if component.assets else {})


def component_json(component: Any) -> dict[str, Any]:
    """Name, version and parameters of a component; part of keys and of records."""
    params = component.params.model_dump(mode="json")
    for name in local_names(type(component.params)):
        params[name] = PurePath(params[name]).name
    for name, said in component.params.model_dump(mode="json").items():
        if said and name in marked_names(type(component.params), Command):
            params[name] = LEFT_OUT if isinstance(said, str) else [LEFT_OUT]
    return {"name": component.name, "version": component.version, "params": params}
