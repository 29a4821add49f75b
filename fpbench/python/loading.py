"""A trained method out of a bundle: ready to issue copies and to read, without a training."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from fpbench.api import Dataset, Host, Method, SpecError, StoreError
from fpbench.api.errors import nearest
from fpbench.api.params import commands, local_names
from fpbench.execute.request import Request
from fpbench.execute.runs import OpenRun
from fpbench.plan import Plan, make_plan
from fpbench.plan.data import modality_of
from fpbench.publish.archive import Bundle, open_bundle
from fpbench.publish.verify import bundle_request
from fpbench.publish.weights import HOST, Made, Training, WeightsCard, read_weights_card
from fpbench.python.absent import Absent
from fpbench.python.cards import Part, component_of, unplaced
from fpbench.python.copies import NO_PLACES
from fpbench.python.methods import TrainedMethod
from fpbench.registry import Catalogue
from fpbench.registry import load as load_plugins
from fpbench.spec import Suite, read_suite
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays
from fpbench.store import Store


def load(
    bundle: str | Path,
    label: str,
    seed: int = 0,
    *,
    plugins: Sequence[str] = (),
    places: Mapping[str, str | Path] = NO_PLACES,
    device: str = "auto",
) -> TrainedMethod:
    """A method of a bundle that `fpbench export --weights` has written, as its run has trained it.

    Nothing is trained, and neither the run nor its data set must be there. Digests are checked
    before anything is opened, and a bundle runs nothing of its own: weights are safetensors, and
    only what is installed or named in `plugins` opens them. What the run has measured stays in the
    run: `readings` is not there.

    Args:
        bundle: its file, or the folder that it was unpacked into.
        label: the method's name on the board.
        seed: index of the training.
        plugins: further plugin modules, as `fpbench -p MODULE`.
        places: parameter -> file or folder on this machine, of a data set, host or method that
            reads some.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU if there is one.

    Raises:
        StoreError: the bundle is damaged, was edited, or has no weights.
        SpecError: it has no such training, or host or method is not installed in its version.
        MissingResource: there is no such device.
    """
    path, place = Path(bundle), Path(tempfile.mkdtemp(prefix="fpbench-weights-"))
    try:
        with open_bundle(path) as opened:
            method = _loaded(opened, path, label, seed, tuple(plugins), places, device, place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(method, shutil.rmtree, place, ignore_errors=True)
    return method


def _loaded(
    bundle: Bundle,
    path: Path,
    label: str,
    seed: int,
    plugins: tuple[str, ...],
    places: Mapping[str, str | Path],
    device: str,
    place: Path,
) -> TrainedMethod:
    card = read_weights_card(bundle.folder)
    if card is None:
        raise StoreError(
            f"{path}: expected a bundle with trained weights, got one without; have its maker run "
            "`fpbench export RUN -o FILE --weights`",
            path=str(path),
        )
    training = _training(card, path, label, seed)
    request = replace(
        bundle_request(bundle.folder, plugins), device=device, seeds=str(training.seed)
    )
    plan, catalogue = _plan(request, card, training, places)
    (fit,) = plan.fits
    store = Store(place, lasting=False)
    files = {HOST: plan.host_key, training.state: fit.key}
    if training.enrolled:
        files[training.enrolled] = plan.enrol_key(fit)
    for name, key in files.items():
        store.put(key, _state(bundle.folder, name), {})
    parts = (("host", _part(card.host)), ("method", _part(training.method)))
    lacking = [name for part in parts for name in unplaced(*part, places, catalogue)]
    run = OpenRun(path, request, plan, catalogue, store)
    return TrainedMethod(run, fit, trains=False, unplaced=tuple(lacking))


def _training(card: WeightsCard, path: Path, label: str, seed: int) -> Training:
    labels = list(dict.fromkeys(each.label for each in card.trainings))
    if label not in labels:
        listed = ", ".join(labels)
        raise SpecError(
            [f"unknown method '{label}' in {path}{nearest(label, labels)}; it has {listed}"]
        )
    seeds = {each.seed: each for each in card.trainings if each.label == label}
    if seed not in seeds:
        listed = ", ".join(map(str, seeds))
        raise SpecError([f"{label}: expected a training seed of {path} ({listed}), got {seed}"])
    return seeds[seed]


def _plan(
    request: Request, card: WeightsCard, training: Training, places: Mapping[str, str | Path]
) -> tuple[Plan, Catalogue]:
    """The plan of one training alone, under the keys that it had in its run.

    Equal versions are what it asks for: keys of today would tell of other source, too.
    """
    catalogue, facts = load_plugins(request.plugins), request.data
    assert facts is not None
    method = component_of("method", _part(training.method), places, catalogue, "bundle")
    host = component_of("host", _part(card.host), places, catalogue, "bundle")
    assert isinstance(method, Method)
    assert isinstance(host, Host)
    suite = _suite(request, catalogue, training.label, method, host)
    plan = make_plan(suite, (), (), facts, modality_of(suite, facts, catalogue))
    suite = replace(suite, dataset=_dataset(plan, places))
    (fit,) = plan.fits
    fit = replace(fit, key=training.key, training=training.training)
    return replace(plan, suite=suite, host_key=card.host_key, fits=(fit,)), catalogue


def _suite(
    request: Request, catalogue: Catalogue, label: str, method: Method[Any], host: Host[Any]
) -> Suite:
    """The suite of a bundle without all that is measured, of which nothing need be here."""
    suite = read_suite(
        request.suite,
        catalogue,
        assignments=request.assignments,
        methods=request.methods,
        attacks=request.attacks,
        seeds=request.seeds,
    )
    asked = [each for each in suite.methods if each.label == label]
    if not asked or asked[0].component.name != method.name or suite.host.name != host.name:
        raise StoreError(
            f"weights: expected a training that suite.toml asks for, got one of {label}: "
            f"{method.name} on {host.name}; export the bundle again"
        )
    return replace(
        suite,
        host=host,
        methods=(replace(asked[0], component=method),),
        attacks=(),
        crosses=(),
        backbones=(),
        strangers=(),
        unavailable=(),
    )


def _part(made: Made) -> Part:
    return Part(**made.model_dump(include=set(Part.model_fields)))


def _dataset(plan: Plan, places: Mapping[str, str | Path]) -> Absent:
    """The data set as the bundle knows it; its samples are read where they are at hand."""
    real = plan.suite.dataset
    if commands(real.params):
        return Absent(plan.facts, None, f"samples of {real.name}, which the suite's code draws")
    params = real.params.model_dump(mode="json")
    files = [name for name in sorted(local_names(type(real.params))) if params[name]]
    lacking = [name for name in files if name not in places]
    if lacking:
        said = f"places={{{lacking[0]!r}: PATH}}, or --place {lacking[0]}=PATH"
        return Absent(plan.facts, None, f"samples of {real.name}; say where they are: {said}")
    said = json.dumps(params | {name: str(places[name]) for name in files})
    found: Dataset[Any] = type(real)(type(real.params).model_validate_json(said))
    return Absent(plan.facts, found, f"samples of {real.name}")


def _state(folder: Path, name: str) -> dict[str, Any]:
    try:
        return to_arrays(check_state(name, load_file(folder / name)))
    except (SafetensorError, TypeError) as error:
        text = f"expected safetensors of a state, got other content ({error}); export it again"
        raise StoreError(f"bundle: {name}: {text}", path=name) from None
