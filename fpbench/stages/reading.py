"""Reading codes: one generator through every pending attack, extractor and image measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as Stepping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Access,
    Attack,
    CoalitionAttack,
    Conditions,
    ContractError,
    Evidence,
    ForgeryAttack,
    Generator,
    Latents,
    Method,
    ModelAttack,
    NoSpace,
    PipelineAttack,
    Reads,
    SampleAttack,
    Surface,
    digest,
)
from fpbench.plan import AttackPoint, Fit, PlannedBackbone, Stage, Want
from fpbench.plan.plan import CHUNK
from fpbench.plan.points import learns_method
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, Drawn, attack_root, chunks, images_of
from fpbench.stages.checks import (
    check_alone,
    check_generator,
    check_reading,
    reading_shape,
)
from fpbench.stages.context import StageContext
from fpbench.stages.effect import effect_of
from fpbench.stages.images import as_memory, from_memory
from fpbench.stages.issue import copy_of
from fpbench.stages.place import place_of
from fpbench.stages.preparing import embedding, prepared, prepared_s
from fpbench.stages.process import Visit, call

_SHARED_FROM = 1_000_000
_SHARED_ORIGINS = (("real",), ("host",))  # whose untouched images are the same for all methods

Arrays = dict[str, np.ndarray]
Failures = dict[tuple[AttackPoint | None, AttackPoint | None], BaseException]
Tuned = Callable[[Sequence[AttackPoint]], Attack[Any]]


@dataclass
class Beside:
    """Images that others are compared with.

    Attributes:
        kind: "host", or "damage" where they are the same images before an attack.
        images: (N, ...) samples; images (N, 3, H, W) uint8.
    """

    kind: str
    images: Tensor
    _seen: dict[str, Tensor] = field(default_factory=dict)

    def seen_by(self, name: str, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Their features, computed once."""
        if name not in self._seen:
            self._seen[name] = network(self.images)
        return self._seen[name]


class GeneratorReader:
    """All pending model points of one generator (a copy, or the host as negative).

    Args:
        bench: what the stages share.
        fit: the trained method.
        subject: makes the copy, or gives the host; called when it is needed.
        origin: ("copy", user) or ("host",); what the draws of attacks derive from.
        key: model point -> key of its reading.
        images: model point -> which images to draw.
        tuned: points of one attack -> the attack, with the parameters that serve best.
        others: size of a coalition -> the other copies in it.
        preceding: the copy of the user before, which an untouched one is compared with: whoever
            comes later changes no reading; None without one.
        sheets: model point -> key of the images that pages show of it; empty if none are kept.
        drawings: model point -> key of all images that are drawn of it; empty if none are kept.
    """

    def __init__(
        self,
        bench: Bench,
        fit: Fit,
        subject: Callable[[], Generator],
        *,
        origin: tuple[Any, ...],
        key: Callable[[AttackPoint | None], str],
        images: Callable[[AttackPoint | None], list[Drawn]],
        tuned: Tuned,
        others: Callable[[int], list[Generator]] = lambda size: [],
        preceding: Callable[[], Generator | None] = lambda: None,
        sheets: Callable[[AttackPoint | None], str] = lambda model: "",
        drawings: Callable[[AttackPoint | None], str] = lambda model: "",
    ) -> None:
        self._bench = bench
        self._fit = fit
        self._subject = subject
        self._origin = origin
        self._key = key
        self._images = images
        self._tuned = tuned
        self._others = others
        self._preceding = preceding
        self._sheets = sheets
        self._drawings = drawings
        self._failures: Failures = {}
        self._untouched: list[tuple[Latents, Beside]] = []  # latents, and what the subject draws
        self._effects: dict[AttackPoint | None, dict[str, bool]] = {}
        self._attack_s: dict[AttackPoint | None, float] = {}

    @cached_property
    def subject(self) -> Generator:
        """The copy, or the host."""
        return self._subject()

    def run(self, pending: Mapping[AttackPoint | None, list[Want]]) -> Failures:
        """Execute; returns what failed, by point."""
        if any(self._is_run(model, wants) for model, wants in pending.items()):
            _ = self.subject  # what cannot be issued fails as a whole, and once
        by_attack: dict[str, list[AttackPoint]] = {}
        for model, wants in pending.items():
            if model is not None and not self._is_kept(model):
                by_attack.setdefault(model.attack.label, []).append(model)
                continue
            try:
                self._read(model, None, wants)
            except NoSpace:
                raise
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
                self._failures |= {(model, want.image): error for want in wants}
        for models in by_attack.values():
            self._attack(models, pending)
        return self._failures

    def _attack(
        self,
        models: Sequence[AttackPoint],
        pending: Mapping[AttackPoint | None, list[Want]],
    ) -> None:
        left = list(models)
        self._bench.at(place_of(models[0]))
        try:
            attack = self._tuned(models)
            spent_s = prepared_s(self._bench, self._fit, models[0].attack, attack)
            with closing(self.attacked(models, attack)) as attacked:
                while left:
                    started = time.monotonic()
                    model, generator = next(attacked)
                    spent_s += time.monotonic() - started
                    seen = self._bench.conditions(images_of("effect", 2))
                    self._effects[model] = effect_of(attack, self.subject, generator, seen)
                    self._attack_s[model] = spent_s
                    self._bench.at(place_of(model))
                    if isinstance(generator, Tensor):
                        self._read_forged(model, generator, pending[model])
                    else:
                        self._read(model, generator, pending[model])
                    left.remove(model)
                    if left:
                        self._bench.at(place_of(left[0]))
        except NoSpace:
            raise
        except StopIteration:
            error = ContractError(
                f"attack {models[0].attack.label}: expected an attacked copy for every strength, "
                f"got none for {', '.join(model.label for model in left)}"
            )
            self._failures |= {(model, None): error for model in left}
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; its cells say so
            self._failures |= {(model, None): error for model in left}
        finally:
            self._bench.at(None)

    def attacked(
        self, models: Sequence[AttackPoint], attack: Attack[Any]
    ) -> Stepping[tuple[AttackPoint, Generator | Tensor], None, None]:
        """Each point of one attack with what it made: a generator, or forged images."""
        who, prepared = (
            f"attack {models[0].attack.label}",
            self._bench.prepared(self._fit, models[0].attack, attack),
        )
        ctx, loans = self._context(models[0], prepared), [*self._loans, prepared]
        if isinstance(attack, ModelAttack):
            by_strength = {model.strength: model for model in models}
            strengths = [None if s is None else float(s) for s in by_strength]
            surface = self._surface(models[0])
            steps = boundary.watched(lambda: attack.apply(surface, strengths, ctx), who, *loans)
            with closing(steps):
                for strength, attacked in steps:
                    if strength not in by_strength:
                        raise ContractError(
                            f"{who}: expected copies at the strengths {strengths}, got one at "
                            f"{strength!r}"
                        )
                    yield by_strength[strength], boundary.returned(attacked)
            return
        for model in models:
            surface = self._surface(model)
            if isinstance(attack, ForgeryAttack):
                images = self._bench.carriers(self._origin[1], len(self._images(model)))
                with self._bench.visit(who, *loans):
                    made: Generator | Tensor = attack.apply(surface, images, model.strength, ctx)
            else:
                assert isinstance(attack, PipelineAttack | CoalitionAttack)
                with self._bench.visit(who, *loans):
                    made = attack.apply(surface, ctx)
            yield model, boundary.returned(made)

    @property
    def _loans(self) -> list[boundary.Loan]:
        """What methods and attacks are lent, and what nothing of theirs may be stored with."""
        return self._bench.loans(self._fit)

    def _read(
        self, model: AttackPoint | None, attacked: Generator | None, wants: list[Want]
    ) -> None:
        """Read the images of what an attack made or, of None, of the subject or kept ones."""
        bench, copy, wanted = self._bench, self._origin[0] == "copy", self._images(model)
        # Negatives only need to be read; what an attack does to images is measured on copies.
        reader = ImageReader(
            bench,
            self._fit,
            self._origin,
            wants,
            model=model,
            features=copy or model is None,
            measured=copy,
        )
        if model is not None and attacked is not None:
            check_generator(f"attack {model.attack.label}", attacked)
        key = self._drawings(model)
        fresh: list[Tensor] | None = [] if key and not bench.store.has(key) else None
        with boundary.unharmed(f"{self._fit.method.label}: extract", *self._loans):
            for chunk, images, beside in self._drawn(model, attacked, wants):
                if fresh is not None:
                    fresh.append(images)
                asked = [wanted[i] for i in chunk]
                reader.read(images, chunk, beside, partial(bench.conditions, asked))
            if self._reads_weights and Want() in wants:
                reader.read_copy(self.subject if attacked is None else attacked)
            if model is None and Want() in wants:
                self._compare_codes(reader)
        if fresh is not None:
            self._keep(model, torch.cat(fresh))
        self._show(
            model, wants, lambda: self._shared(self.subject if attacked is None else attacked)
        )
        self._store(model, reader)

    def _drawn(
        self, model: AttackPoint | None, attacked: Generator | None, wants: Sequence[Want]
    ) -> Iterator[tuple[np.ndarray, Tensor, Beside | None]]:
        """Each chunk of image numbers, with the images and what they are compared with."""
        wanted, bench = self._images(model), self._bench
        who = f"{self._fit.method.label}: sample"
        if model is not None:
            who = f"attack {model.attack.label}"
        kept, source = None, attacked
        if attacked is None:
            kept = self._kept(model)
            source = self.subject if self._is_run(model, wants) else None
        for chunk in chunks(len(wanted)):
            latents = None
            if source is not None:
                latents = self._bench.latents(source, [wanted[i] for i in chunk])
            if kept is not None:
                images = kept[chunk[0] : chunk[-1] + 1]
            else:
                assert source is not None
                assert latents is not None
                drawn = boundary.drawn(source, latents)
                images = bench.modality.check(who, drawn, len(chunk), bench.info)
            beside = None
            if latents is not None and self._is_compared(wants):
                beside = self._beside(model, latents)
                if model is None:
                    self._untouched.append((latents, Beside("damage", images)))
            yield chunk, images, beside

    def _is_compared(self, wants: Sequence[Want]) -> bool:
        """Whether others are drawn from the same latents, to be compared with."""
        return self._origin[0] == "copy" and any(want.image is None for want in wants)

    def _is_run(self, model: AttackPoint | None, wants: Sequence[Want]) -> bool:
        """Whether the subject itself is needed, and not only its kept images."""
        return self._is_compared(wants) or self._reads_weights or not self._is_kept(model)

    @property
    def _reads_weights(self) -> bool:
        return self._fit.method.component.reads is Reads.WEIGHTS

    def _is_kept(self, model: AttackPoint | None) -> bool:
        key = self._drawings(model)
        return bool(key) and self._bench.store.has(key)

    def _kept(self, model: AttackPoint | None) -> Tensor | None:
        """The images that were drawn before; None if they are to be drawn."""
        if not self._is_kept(model):
            return None
        drawing = self._bench.store.get(self._drawings(model))
        self._effects[model], self._attack_s[model] = (
            drawing.meta["effect"],
            drawing.meta["attack_s"],
        )
        return from_memory(drawing.arrays["images"], self._bench.device)

    def _keep(self, model: AttackPoint | None, images: Tensor) -> None:
        effect, attack_s = self._effects.get(model, {}), self._attack_s.get(model, 0.0)
        meta = {"effect": effect, "attack_s": attack_s}
        self._bench.store.put(self._drawings(model), {"images": as_memory(images)}, meta)

    def _shared(self, generator: Generator) -> Tensor:
        """Images of the latents that all copies share."""
        shared = images_of("shared", self._bench.suite.population.shared)
        return boundary.drawn(generator, self._bench.latents(generator, shared))

    def _compare_codes(self, reader: ImageReader) -> None:
        """What another user's code changes of the same latents."""
        preceding = self._preceding()
        # Of images that were marked elsewhere none bears two codes.
        given = type(self._fit.method.component).given_codes is not Method.given_codes
        if preceding is not None and not given:
            reader.keep_code_likeness(self._shared(self.subject), self._shared(preceding))

    def _show(
        self, model: AttackPoint | None, wants: Sequence[Want], images: Callable[[], Tensor]
    ) -> None:
        """Keep what pages show of a model point: of one copy under the image attacks too."""
        key, everywhere = self._sheets(model), self._origin == ("copy", 0)
        shown = [want for want in wants if everywhere or want.image is None]
        if key and shown:
            sheet = ImageReader(self._bench, self._fit, self._origin, shown, model=model)
            try:
                with boundary.unharmed(f"{self._fit.method.label}: sample", *self._loans):
                    sheet.show(images())
            except NoSpace:
                raise
            except Exception:  # noqa: BLE001 - numbers do not wait for pictures
                return
            store_columns(self._bench, key, sheet)

    def _read_forged(
        self,
        model: AttackPoint,
        forged: Tensor,
        wants: list[Want],
    ) -> None:
        bench = self._bench
        count = len(self._images(model))
        bench.modality.check(f"attack {model.attack.label}", forged, count, bench.info)
        clean = bench.carriers(self._origin[1], count)
        reader = ImageReader(bench, self._fit, self._origin, wants, model=model, measured=True)
        with boundary.unharmed(f"{self._fit.method.label}: extract", *self._loans):
            for chunk in chunks(count):
                part = torch.from_numpy(chunk)
                reader.read(forged[part], chunk, beside=Beside("damage", clean[part]))
        self._show(model, wants, lambda: forged[: bench.suite.population.shared])
        self._store(model, reader)

    def _store(self, model: AttackPoint | None, reader: ImageReader) -> None:
        effect, attack_s = self._effects.get(model, {}), self._attack_s.get(model, 0.0)
        store_columns(self._bench, self._key(model), reader, attack_s, effect)
        for point, error in reader.failures.items():
            self._failures[model, point] = error

    def _beside(self, model: AttackPoint | None, latents: Latents) -> Beside | None:
        """The image each drawn one is compared with: the host's, or the copy's before attack."""
        if model is not None:
            # Every strength of every attack has the same images beside it, unless it asks for more
            # or draws its latents in a way of its own.
            for former, beside in self._untouched:
                if boundary.same_latents(former, latents):
                    return beside
            beside = Beside("damage", boundary.drawn(self.subject, latents))
            self._untouched.append((latents, beside))
            return beside
        if self._fit.method.component.keeps_sample:
            return Beside("host", boundary.drawn(self._bench.host.generator, latents))
        return None

    def _surface(self, model: AttackPoint) -> Surface:
        bench, access = self._bench, model.attack.component.access
        method = self._fit.method.component
        clean = None
        if Access.CLEAN_IMAGES in access:
            numbers = np.arange(model.attack.options.clean_images)
            clean = bench.test_images.read(bench.suite.clean_from + numbers)
        return Surface(
            opened=access,
            attack=model.attack.label,
            _copies=[boundary.Lent(copy) for copy in (self.subject, *self._others(model.size))],
            _clean_images=clean,
            _public_host=bench.lent_host(),
            _trainer=self._fit.trainer,
            _target_images=self._target_images,
            _target_code=bench.code(self._fit, self._origin[1]) if len(self._origin) > 1 else None,
            _embed=embedding(bench, self._fit),
            _bits=method.bits,
        )

    def _target_images(self, count: int) -> Tensor:
        wanted = images_of(f"target {self._origin[1]}", count)
        return boundary.drawn(self.subject, self._bench.latents(self.subject, wanted))

    def _context(self, model: AttackPoint, learnt: boundary.Loan) -> StageContext:
        trainer = Access.TRAINER in model.attack.component.access
        bits = self._fit.method.component.bits if trainer else 0
        root = (*attack_root(model.attack.component), *self._origin)
        return self._bench.context(*root, bits=bits, fitted=learnt.lent())


class ImageReader:
    """Streams chunks of images through image attacks, extractor and image measures.

    Args:
        bench: what the stages share.
        fit: the trained method.
        origin: what the draws of attacks derive from.
        wants: the columns to fill.
        model: what was done to the generator of the images.
        features: keep the proxy's features of the images.
        measured: measure what image attacks do to the images.
    """

    def __init__(
        self,
        bench: Bench,
        fit: Fit,
        origin: tuple[Any, ...],
        wants: Sequence[Want],
        *,
        model: AttackPoint | None = None,
        features: bool = False,
        measured: bool = False,
    ) -> None:
        self._model = model
        self._bench = bench
        self._fit = self.fit = fit
        self._origin = origin
        self._points = list(dict.fromkeys(want.image for want in wants))
        self._read = {want.image for want in wants if want.backbone is None}
        self._backbones: dict[AttackPoint | None, list[PlannedBackbone]] = {}
        for want in wants:
            if want.backbone is not None:
                self._backbones.setdefault(want.image, []).append(want.backbone)
        self._parts: dict[Want, dict[str, list[Tensor]]] = {}
        self._with_features = features
        self._with_measures = measured
        self._extract_ctx = bench.context("extract")
        self.failures: dict[AttackPoint | None, BaseException] = {}
        self.extract_s = 0.0
        self.extracted = 0

    def read(
        self,
        images: Tensor,
        indices: np.ndarray,
        beside: Beside | None = None,
        captions: Callable[[], Conditions] = tuple,
    ) -> None:
        """Attack, extract and measure one chunk.

        Args:
            images: (N, ...) samples.
            indices: (N,) their numbers.
            beside: the images that these are compared with.
            captions: what they were drawn by, asked for where it is measured.
        """
        attacked: dict[AttackPoint | None, Tensor] = {}
        for point in self._points:
            if point in self.failures:
                continue
            try:
                attacked[point] = self._attack(point, images, indices)
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
                self.failures[point] = error
        read = [point for point in attacked if point in self._read]
        if self._fit.method.component.reads is Reads.WEIGHTS:
            read = []
        if read:
            logits = self._extract(torch.cat([attacked[point] for point in read]))
            for row, point in enumerate(read):
                self._keep(Want(point), "logits", logits[row * len(images) :][: len(images)])
        for point, changed in attacked.items():
            if point is None:
                self._measure(images, beside, captions)
            elif self._with_measures:
                self._compare(point, Beside("damage", images), changed)

    def read_copy(self, copy: Generator) -> None:
        """Read the weights of a copy: one row, whatever the number of images."""
        started = time.monotonic()
        self._keep(Want(), "logits", self._logits(Evidence(_copy=boundary.Lent(copy)), 1))
        self.extract_s += time.monotonic() - started
        self.extracted += 1

    def _measure(
        self, images: Tensor, beside: Beside | None, captions: Callable[[], Conditions]
    ) -> None:
        """What is measured of images whose pixels are not attacked."""
        networks: list[tuple[Want, str, Any]] = []
        if self._with_features and None in self._read:
            networks.append((Want(), "features", self._bench.features))
        networks += [
            (Want(None, backbone), f"{backbone.name}_features", self._bench.network(backbone))
            for backbone in self._backbones.get(None, [])
            if backbone.features
        ]
        for want, name, network in networks:
            self._keep(want, name, network(images))
            if beside is not None and beside.kind == "damage":
                # The same latents before the attack: distances are compared at equal images.
                self._keep(want, f"own_{name}", beside.seen_by(name, network))
        for backbone in self._backbones.get(None, []):
            if backbone.captions:
                score = self._bench.network(backbone)(images, captions())
                self._keep(Want(None, backbone), f"{backbone.name}_score", score)
        if beside is not None:
            self._compare(None, beside, images)

    def _compare(self, point: AttackPoint | None, beside: Beside, images: Tensor) -> None:
        """Likeness of each image to the one it stands beside."""
        kind, other = beside.kind, beside.images
        if point in self._read:
            for name, likeness in self._bench.modality.likeness.items():
                self._keep(Want(point), f"{kind}_{name}", likeness(other, images))
            # Of images it is 1 - SSIM, which is kept.
            if kind == "damage" and not self._bench.plan.of_images:
                distance = self._bench.modality.damage(other, images)
                self._keep(Want(point), f"{kind}_distance", distance)
        for backbone in self._backbones.get(point, []):
            if backbone.pairs:
                distance = self._bench.network(backbone)(other, images)
                self._keep(Want(point, backbone), f"{kind}_{backbone.name}", distance)

    def keep_code_likeness(self, images: Tensor, other: Tensor) -> None:
        """Keep the likeness, of images PSNR, of samples of two copies at the same latents."""
        name, likeness = next(iter(self._bench.modality.likeness.items()))
        self._keep(Want(), f"code_{name}", likeness(images, other))

    def show(self, images: Tensor) -> None:
        """Keep (N, ...) samples under every attack on them that is read, for a sheet."""
        # Numbers behind those of every measured image, so that the draws are other ones.
        indices = np.arange(len(images)) + _SHARED_FROM
        for point in self._points:
            if point not in self._read:
                continue
            try:
                shown = self._attack(point, images, indices)
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
                self.failures[point] = error  # as in its reading, which says so
            else:
                self._keep(Want(point), "images", shown.contiguous())

    def columns(self) -> list[Want]:
        """The columns that were filled without failure."""
        return [want for want in self._parts if want.image not in self.failures]

    def arrays(self, name: Callable[[Want], str]) -> Arrays:
        """All kept tensors as `column/name`."""
        return {
            f"{name(want)}/{key}": torch.cat(parts).cpu().numpy()
            for want in self.columns()
            for key, parts in self._parts[want].items()
        }

    def _attack(self, point: AttackPoint | None, images: Tensor, indices: np.ndarray) -> Tensor:
        if point is None:
            return images
        attack, bench = point.attack.component, self._bench
        assert isinstance(attack, SampleAttack)
        if self._model is not None or self._origin not in _SHARED_ORIGINS or learns_method(attack):
            return self._attacked(point, attack, images, indices)
        # Every method's reader meets the same; a codec takes longer over a sound than most readers.
        learnt = bench.plan.prepared_key(None, point.attack, attack)
        which = (point.attack.label, point.strength, learnt)
        shared = (self._origin, *which, *indices[[0, -1]].tolist())
        return bench.remembered(shared, lambda: self._attacked(point, attack, images, indices))

    def _attacked(
        self, point: AttackPoint, attack: SampleAttack[Any], images: Tensor, indices: np.ndarray
    ) -> Tensor:
        strength = 0.0 if point.strength is None else point.strength
        who, numbers = f"attack {point.attack.label}", indices.tolist()
        self._bench.at(place_of(self._model, point))
        try:
            learnt = prepared(self._bench, self._fit, point.attack, attack)
            root = (*attack_root(attack), *self._origin)
            ctx = self._bench.context(*root, fitted=learnt.lent())
            with boundary.unharmed(who, learnt):
                changed = boundary.attacked(
                    who, lambda lent: call(attack.apply, lent, numbers, strength, ctx), images
                )
        finally:
            self._bench.at(None if self._model is None else place_of(self._model))
        return self._bench.modality.check(who, changed, len(images), self._bench.info)

    def _extract(self, images: Tensor) -> Tensor:
        with Visit():
            started = time.monotonic()
            parts = [
                self._logits(Evidence(images[torch.from_numpy(chunk)]), len(chunk))
                for chunk in chunks(len(images), 4 * CHUNK)
            ]
            self.extract_s += time.monotonic() - started
            if self._fit.index not in self._bench.read_alone:
                alone = self._logits(Evidence(images[:1].clone()), 1)
                check_alone(f"{self._fit.method.label}: extract", parts[0][:1], alone)
                self._bench.read_alone.add(self._fit.index)
        self.extracted += len(images)
        return torch.cat(parts)

    def _logits(self, evidence: Evidence, rows: int) -> Tensor:
        """The reading of `rows` samples, or of a copy."""
        method, bench, fit = self._fit.method.component, self._bench, self._fit
        evidence = replace(evidence, registry=bench.registry_loan(fit).lent())
        with torch.no_grad():
            state, host = bench.fit_loan(fit).lent(), bench.lent_host()
            reading = method.extract(state, host, evidence, self._extract_ctx)
        shape = reading_shape(method, rows, bench.registered(fit))
        # In memory of its own: it may be a buffer that is filled again and again.
        return check_reading(f"{fit.method.label}: extract", reading, shape).to(
            torch.float32, copy=True
        )

    def _keep(self, want: Want, name: str, values: Tensor) -> None:
        self._parts.setdefault(want, {}).setdefault(name, []).append(values.detach())


def by_cell(stage: Stage, failures: Failures) -> dict[str, BaseException]:
    """Errors by key of the cell that has no numbers for them."""
    found = {}
    for cell in stage.cells if failures else ():
        point = cell.point
        # What fails untouched, or under a model attack, takes all that is read behind it along.
        keys = ((point.model, point.image), (point.model, None), (None, None))
        error = next((failures[key] for key in keys if key in failures), None)
        if error is not None:
            found[cell.key] = error
    return found


def store_columns(
    bench: Bench,
    key: str,
    reader: ImageReader,
    attack_s: float = 0.0,
    effect: Mapping[str, bool] | None = None,
) -> None:
    """Commit what a reader has read as one shard, and what the attack did to the copy."""
    name = partial(bench.plan.column, reader.fit)
    names = [name(want) for want in reader.columns()]
    if not names:
        return
    arrays = reader.arrays(name)
    seconds = reader.extract_s / max(reader.extracted, 1)
    cost = {"extract_s_per_image": seconds, "attack_s": attack_s}
    meta = {"cost": cost, **(effect or {})}
    bench.store.append(key, digest(sorted(names))[:32], arrays, names, meta)


def copy_reader(bench: Bench, fit: Fit, user: int, tuned: Tuned) -> GeneratorReader:
    """A user's copy, to be attacked and read."""
    plan = bench.plan

    def key(model: AttackPoint | None) -> str:
        index = plan.subject(fit, model, user)
        assert index is not None  # only what the user is first in is read of his copy
        return plan.reading_key(fit, index, model)

    return GeneratorReader(
        bench,
        fit,
        lambda: copy_of(bench, fit, user),
        origin=("copy", user),
        key=key,
        images=lambda model: images_of(user, plan.images(model)),
        tuned=tuned,
        others=lambda size: [copy_of(bench, fit, user + i) for i in range(1, size)],
        preceding=lambda: copy_of(bench, fit, user - 1) if user else None,
        sheets=lambda model: plan.sheet_key(fit, user, model),
        drawings=lambda model: plan.drawing_key(fit, user, model),
    )
