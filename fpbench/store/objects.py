"""The content-addressed store: nothing half-written is ever read, nothing damaged is ever used.

    <root>/objects/<2 digits>/<key>/<shard>/manifest.json
                                            arrays.safetensors
    <root>/checkpoints/<key>/<name>/…       dropped when the stage's artefact is committed
    <root>/tmp/…                            shards being written

An artefact of a key is one or more *shards*: a folder that is written under `tmp`, synced and
renamed into place. A stage that makes one thing commits the shard `main`; a reading appends a
shard for every batch of columns. The manifest carries the SHA-256 of the payload and of itself.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import MissingResource, NoSpace, StoreError, canonical_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]

FORMAT = 1
_MAIN = "main"
LITTER_S = 3600.0
"""What nobody has touched for so long while it was being written is litter."""


@dataclass(frozen=True)
class Shard:
    """One committed part of an artefact.

    Attributes:
        arrays: its tensors by name.
        meta: its plain values.
    """

    arrays: Arrays
    meta: dict[str, Any]


class Store:
    """Artefacts by stage key. Several processes and runs may share one store.

    Args:
        root: folder, made if absent.
        lasting: what is committed outlives a power cut; False for a store that nobody keeps.
    """

    def __init__(self, root: Path, *, lasting: bool = True) -> None:
        self.root = root
        self._lasting = lasting
        self._objects = root / "objects"
        self._checkpoints = root / "checkpoints"
        self._tmp = root / "tmp"
        # A shard that is committed keeps its columns, and a population has many of few kinds.
        self._columns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._kinds: dict[tuple[str, ...], tuple[str, ...]] = {}

    # -- artefacts ---------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """True when the artefact `key` is committed (its payload is checked when it is read)."""
        return self._shard_path(key, _MAIN).is_dir()

    def put(self, key: str, arrays: Arrays, meta: Mapping[str, Any]) -> None:
        """Commit the artefact `key`; the first of two writers wins."""
        self._commit(self._shard_path(key, _MAIN), key, arrays, meta)

    def get(self, key: str) -> Shard:
        """The artefact `key`.

        Raises:
            StoreError: it is absent or damaged.
            MissingResource: another version of fpbench is needed to read it.
        """
        return self._load(self._shard_path(key, _MAIN), key)

    def meta(self, key: str) -> dict[str, Any]:
        """The plain values of the artefact `key`, without reading its arrays."""
        return dict(self._manifest(self._shard_path(key, _MAIN), key)["meta"])

    def append(
        self, key: str, shard: str, arrays: Arrays, columns: list[str], meta: Mapping[str, Any]
    ) -> None:
        """Add a shard with the given columns to the reading `key`."""
        path = self._shard_path(key, shard)
        self._commit(path, key, arrays, {**meta, "columns": columns})

    def started(self, key: str) -> bool:
        """True when a reading has at least one shard."""
        return self._key_path(key).is_dir()

    def columns(self, key: str) -> dict[str, str]:
        """Column key -> shard that holds it, for the reading `key`; empty if there is none."""
        folder = self._key_path(key)
        found: dict[str, str] = {}
        with suppress(FileNotFoundError):
            for path in sorted(folder.iterdir()):
                for column in self._columns_of(path, key):
                    found.setdefault(column, path.name)
        return found

    def _columns_of(self, path: Path, key: str) -> tuple[str, ...]:
        known = self._columns.get((key, path.name))
        if known is None:
            known = tuple(self._manifest(path, key)["meta"].get("columns", ()))
            known = self._kinds.setdefault(known, known)
            self._columns[key, path.name] = known
        return known

    def shard(self, key: str, shard: str) -> Shard:
        """One shard of the reading `key`; see `get`."""
        return self._load(self._shard_path(key, shard), key)

    def digests(self, key: str) -> dict[str, str]:
        """Shard -> SHA-256 of its payload, as its manifest says; empty if there is none.

        Raises:
            StoreError: a manifest is damaged.
        """
        folder = self._key_path(key)
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return {path.name: str(self._manifest(path, key)["sha256"]) for path in paths}

    def take(self, source: Store, key: str, shard: str) -> None:
        """Commit a shard of another store, as it is there; files are shared where that is possible.

        Raises:
            StoreError: it is damaged.
        """
        theirs, ours = source._shard_path(key, shard), self._shard_path(key, shard)
        source._load(theirs, key)
        with self._committed(ours) as folder:
            for path in theirs.iterdir():
                _share(path, folder / path.name)

    def take_checkpoints(self, source: Store, key: str) -> bool:
        """Copy what another store has saved of an unfinished stage; whether it did."""
        ours = self._checkpoints / key
        if ours.is_dir():
            return False
        ours.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._made_tmp()) as place:
            shutil.copytree(source._checkpoints / key, Path(place) / key)
            (Path(place) / key).rename(ours)
        return True

    def keys(self) -> Iterator[str]:
        """Every committed key."""
        for folder in sorted(self._objects.glob("??/*")):
            yield folder.name

    def verify(self) -> list[StoreError]:
        """Read everything; one error for each damaged artefact."""
        damaged = []
        for key in self.keys():
            for path in sorted(self._key_path(key).iterdir()):
                try:
                    self._load(path, key)
                except StoreError as error:
                    damaged.append(error)
        return damaged

    def drop(self, key: str) -> None:
        """Remove an artefact in one step, so that the next run makes it again."""
        self._tmp.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=self._tmp))
        # A kill on the way leaves a part of it there, and never a part that is taken for damaged.
        with suppress(FileNotFoundError):
            self._key_path(key).rename(aside / key)
        shutil.rmtree(aside, ignore_errors=True)

    def size(self, key: str) -> int:
        """Bytes of an artefact on disk."""
        return size_of(self._key_path(key))

    def litter(self) -> list[Path]:
        """What was being written and nobody has touched for an hour, by the file system's clock."""
        places = [*self._tmp.glob("*"), *(self.root / "leases").glob(".*")]
        if not places:
            return []
        with tempfile.TemporaryFile(dir=self.root) as file:
            now = os.fstat(file.fileno()).st_mtime
        return sorted(place for place in places if now - _touched(place, now) > LITTER_S)

    def sweep(self) -> None:
        """Remove what killed processes left half-written."""
        for place in self.litter():
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)

    # -- checkpoints -------------------------------------------------------------------------

    def save_checkpoint(self, key: str, name: str, arrays: Arrays, meta: Mapping[str, Any]) -> None:
        """Replace the checkpoint `name` of stage `key` in one step."""
        folder = self._checkpoints / key / name
        old = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        number = max((int(n) for n in old if n.isdigit()), default=0) + 1
        self._commit(folder / f"{number:06d}", key, arrays, meta)
        for stale in old:
            shutil.rmtree(folder / stale, ignore_errors=True)

    def load_checkpoint(self, key: str, name: str) -> Shard | None:
        """The newest readable checkpoint `name` of stage `key`."""
        folder = self._checkpoints / key / name
        for path in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []:
            # A damaged checkpoint costs time, not truth: fall back to an older one or to none.
            with suppress(StoreError):
                return self._load(path, key)
        return None

    def checkpoints(self) -> dict[str, int]:
        """Stage key -> bytes of what unfinished trainings have saved."""
        folders = self._checkpoints.iterdir() if self._checkpoints.is_dir() else ()
        return {folder.name: size_of(folder) for folder in sorted(folders)}

    def drop_checkpoints(self, key: str) -> None:
        """Forget the checkpoints of a finished stage."""
        shutil.rmtree(self._checkpoints / key, ignore_errors=True)

    # -- parts -------------------------------------------------------------------------------

    def _key_path(self, key: str) -> Path:
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise StoreError(f"store: expected a 64-digit stage key, got {key!r}")
        return self._objects / key[:2] / key

    def _shard_path(self, key: str, shard: str) -> Path:
        return self._key_path(key) / shard

    def _commit(self, path: Path, key: str, arrays: Arrays, meta: Mapping[str, Any]) -> None:
        import numpy as np
        from safetensors.numpy import save as dump_arrays

        if path.is_dir():
            return
        with self._committed(path) as folder:
            payload = dump_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()})
            body = {
                "format": FORMAT,
                "key": key,
                "shard": path.name,
                "sha256": hashlib.sha256(payload).hexdigest(),
                "meta": dict(meta),
            }
            text = canonical_json(body | {"self": _sha256(canonical_json(body))})
            self._write(folder / "arrays.safetensors", payload)
            self._write(folder / "manifest.json", text.encode())

    @contextmanager
    def _committed(self, path: Path) -> Iterator[Path]:
        """A folder to fill, which is renamed to `path` behind the block; the first of two wins."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._made_tmp()))
            try:
                yield folder
                shutil.copymode(path.parent, folder)  # others may share the store
                folder.rename(path)
                if self._lasting:
                    _sync_folder(path.parent)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                if path.is_dir():  # another process committed the same content first
                    return
                raise

    def _made_tmp(self) -> Path:
        self._tmp.mkdir(parents=True, exist_ok=True)
        return self._tmp

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            if self._lasting:
                file.flush()
                os.fsync(file.fileno())

    def _manifest(self, path: Path, key: str) -> dict[str, Any]:
        file = path / "manifest.json"
        try:
            text = file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            if not path.exists():
                raise StoreError(
                    f"store: expected artefact {key[:16]}… in {self.root}, got none; run the suite "
                    "again, which makes it",
                    key,
                    str(path),
                ) from None
            raise _damaged(key, file, "a manifest", "none") from None
        except (IsADirectoryError, UnicodeDecodeError):
            text = ""
        body = object_in(text)
        if body is None or "self" not in body:
            raise _damaged(key, file, "a readable manifest", "broken JSON")
        # Canonical as it was written: without its own digest it is the text that was digested.
        stated = body.pop("self")
        intact = stated == _sha256(text.replace(f'"self":"{stated}",', ""))
        if not intact or (body["key"], body["shard"]) != (key, path.name):
            raise _damaged(key, file, "the manifest as it was written", "an edited one")
        if body["format"] != FORMAT:
            # It is whole, so nobody may drop it as damaged.
            raise MissingResource(
                f"store: artefact {key[:16]}… at {file}: expected format {FORMAT}, got "
                f"{body['format']}, of another fpbench; update fpbench, or name another --store"
            )
        return body

    def _load(self, path: Path, key: str) -> Shard:
        from safetensors import SafetensorError
        from safetensors.numpy import load as parse_arrays

        body = self._manifest(path, key)
        file = path / "arrays.safetensors"
        try:
            payload = file.read_bytes()
        except FileNotFoundError:
            raise _damaged(key, file, "a payload", "none") from None
        if hashlib.sha256(payload).hexdigest() != body["sha256"]:
            raise _damaged(
                key, file, f"SHA-256 {body['sha256'][:12]}…", f"other content, {len(payload)} bytes"
            )
        try:
            arrays = parse_arrays(payload)
        except SafetensorError as error:
            raise _damaged(key, file, "safetensors", str(error)) from None
        return Shard(arrays, body["meta"])


def _touched(place: Path, now: float) -> float:
    """When something below a path was written last; now, if it has just gone."""
    try:
        return max(each.stat().st_mtime for each in (place, *place.rglob("*")))
    except FileNotFoundError:
        return now


def size_of(place: Path) -> int:
    """Bytes of a file, or of all files below a folder; what goes away meanwhile counts nothing."""
    total = 0
    for path in (place, *place.rglob("*")):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def replace_folder(fresh: Path, target: Path) -> None:
    """Put a folder in the place of another by two renames; a failure puts the former one back.

    A kill between the two leaves the former one beside; `restore_folder` brings it back.
    """
    former = _former(target)
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        target.rename(former)
    try:
        fresh.rename(target)
    except OSError:
        restore_folder(target)
        raise
    shutil.rmtree(former, ignore_errors=True)


def restore_folder(target: Path) -> None:
    """Bring a folder back whose replacement was killed; nothing is done where it is there."""
    if not target.exists() and _former(target).exists():
        _former(target).rename(target)


def _former(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step: it is there whole or not at all."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none that can be read."""
    try:
        return object_in(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        return None


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None if it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _damaged(key: str, path: Path, expected: str, got: str) -> StoreError:
    return StoreError(
        f"store: artefact {key[:16]}… is damaged at {path}: expected {expected}, got {got}; "
        "nothing was computed from it. Run again with --repair to drop it and make it anew",
        key,
        str(path),
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"store: no space left on the device while writing {path}; earlier results are "
                "intact. Free some space and run the same command again",
                path=str(path),
            ) from error
        raise


def _share(source: Path, target: Path) -> None:
    """A hard link, since nobody changes what is committed; a copy on another file system."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
