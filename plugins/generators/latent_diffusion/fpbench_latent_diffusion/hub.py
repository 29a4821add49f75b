"""Where a host's autoencoder or pipeline lies on this machine; no torch."""

from __future__ import annotations

from fpbench.api import MissingResource

__all__ = ["place_of"]


def place_of(who: str, place: str, hub: str, revision: str) -> str:
    """Where an autoencoder or a pipeline lies: the place itself, or that of a model of the hub.

    Raises:
        MissingResource: the model is not on this machine.
    """
    return _fetched(who, hub, revision) if hub else place


def _fetched(who: str, name: str, revision: str) -> str:
    """The folder of a model of the hub that lies on this machine.

    Raises:
        MissingResource: it does not, or the hub's library is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingResource(
            f"{who}: expected the package huggingface_hub, got none; install it with "
            "`pip install fpbench[latent]`"
        ) from error
    try:
        return str(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise MissingResource(
            f"{who}: expected {name} at {revision} on this machine, got none; fetch it with "
            f"`hf download {name} --revision {revision}`, or set host.autoencoder to a folder"
        ) from error
