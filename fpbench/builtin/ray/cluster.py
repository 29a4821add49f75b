"""`ray`: pilots under detached actors of Ray, which are told nothing but plain texts."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from fpbench.api import Card, Cluster, MissingResource, Needs, Params

_ANSWER_S = 5.0
"""For an address to answer, and for a pilot that is asked to stop."""
_SAVE_S = 60.0
"""For pilots to save."""
_TOLD = ("FPBENCH_", "PYTHONPATH")
"""Beginnings of the names of variables that pilots take over; the rest is the node's own."""


class RayParams(Params):
    """Where pilots go, and how many at once.

    Attributes:
        address: of a running cluster, as host:port on one of its nodes, as ray://host:port from
            outside, or "auto" for the one that this machine is a node of; empty = that one, else
            a cluster of this machine alone, which ends with the run.
        cap: pilots at once, waiting ones among them.
        cpus: processors of one pilot.
        gpus: GPUs of one pilot.
        memory_gib: memory of one pilot; 0 = not asked for.
        grows: whether an autoscaler adds nodes; else what no node has is refused.
    """

    address: str = ""
    cap: Annotated[int, Field(ge=1)] = 8
    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    memory_gib: Annotated[float, Field(ge=0)] = 0.0
    grows: bool = False


class Pilot:
    """An actor that starts a process on its node, and ends with it.

    Args:
        command: what to start.
        said: folder for what it prints.
        folder: where to start it.
        environ: variables to set.
    """

    def __init__(self, command: list[str], said: str, folder: str, environ: dict[str, str]) -> None:
        import ray

        self._own = ray.get_runtime_context().current_actor
        with (Path(said) / f"{socket.gethostname()}-{os.getpid()}.txt").open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - never through a shell
                command,
                cwd=folder,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        # Nobody else may be left to end the actor.
        threading.Thread(target=self._leave, daemon=True).start()

    def wait(self) -> int:
        """Return when the process has ended, with its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Ask the process to save and end."""
        self._process.terminate()

    def _leave(self) -> None:
        import ray

        self._process.wait()
        ray.kill(self._own)


class RayCluster(Cluster[RayParams]):
    """Starts pilots on the nodes of a Ray cluster, as many as stages wait for one, up to its cap.

    One whose node is lost counts as ended. Pilots go on when the process that has started them
    ends.
    """

    name = "ray"
    version = "1"
    Params = RayParams
    card = Card("Ray", "own", "Apache-2.0", "Runs stages on a Ray cluster that shares the store.")

    def __init__(self, params: RayParams) -> None:
        super().__init__(params)
        self._ray: Any = None
        # By what Ray has promised to tell when one ends.
        self._pilots: dict[Any, Any] = {}
        self._placeable: list[dict[str, int]] = []

    def keep(self, command: Sequence[str], folder: Path, needs: Needs, wanted: int) -> int:
        """See `Cluster.keep`."""
        if self._ray is None:
            self._ray = self._connected()
        p, memory = self.params, max(self.params.memory_gib, needs.memory_gib)
        asked = {"CPU": p.cpus, "GPU": max(p.gpus, needs.gpus), "memory": round(memory * 2**30)}
        self._check_room(asked)
        lacking = max(0, min(wanted, p.cap) - self._alive())
        for _ in range(lacking):
            self._start(command, folder, asked)
        return lacking

    def close(self, *, cancel: bool) -> None:
        """See `Cluster.close`."""
        ray, pilots = self._ray, self._pilots
        if ray is None:
            return
        if cancel and pilots:
            asked = {pilot.stop.remote(): pilot for pilot in pilots.values()}
            _, silent = ray.wait([*asked], num_returns=len(asked), timeout=_ANSWER_S)
            for each in silent:  # they have found no place yet
                ray.kill(asked[each])
            ray.wait([*pilots], num_returns=len(pilots), timeout=_SAVE_S)
        self._ray, self._pilots = None, {}
        ray.shutdown()

    def _alive(self) -> int:
        ray = self._ray
        for end in [end for end in self._pilots if ray.wait([end], timeout=0)[0]]:
            del self._pilots[end]
            try:
                ray.get(end)
            except ray.exceptions.RayError as error:
                # A node that is lost is replaced; where no pilot can start, none ever will.
                if getattr(error, "actor_init_failed", False):
                    raise MissingResource(
                        f"executor ray: expected nodes on which pilots start, got "
                        f"{_last_line(error)}; they need this installation, the store and the "
                        "folder that the run was started in, at the same places"
                    ) from None
        return len(self._pilots)

    def _start(self, command: Sequence[str], folder: Path, asked: dict[str, int]) -> None:
        options = {
            "name": f"fpbench-{secrets.token_hex(8)}",
            "lifetime": "detached",
            "num_cpus": asked["CPU"],
            "num_gpus": asked["GPU"],
            "memory": asked["memory"] or None,
            "scheduling_strategy": "SPREAD",
            "max_concurrency": 2,
        }
        environ = {k: v for k, v in os.environ.items() if k.startswith(_TOLD)}
        # By value: the Python that Ray runs on need not have fpbench.
        self._ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        actor = self._ray.remote(Pilot).options(**options)
        pilot = actor.remote([*command], str(folder), str(Path.cwd()), environ)
        self._pilots[pilot.wait.remote()] = pilot

    def _check_room(self, asked: dict[str, int]) -> None:
        """Refuse what no node has; what one had before a node was lost may be had again."""
        if asked in self._placeable:
            return
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        fits = any(all(node.get(k, 0) >= v for k, v in asked.items()) for node in nodes)
        if not fits and not self.params.grows:
            kinds = sorted({_listed({k: node.get(k, 0) for k in asked}) for node in nodes})
            raise MissingResource(
                f"executor ray: expected a node with {_listed(asked)}, got nodes with "
                f"{'; '.join(kinds)}: pilots would wait for ever; ask for less, or say grows=true "
                "where nodes are added"
            )
        self._placeable.append(asked)

    def _connected(self) -> Any:
        """The module, speaking to the cluster."""
        # Ray would copy the folder of a run that `uv run` has started to every node.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise MissingResource(
                "executor ray: expected Ray to be installed, got none; run in fpbench's folder: "
                "uv sync --extra ray (or pip install 'fpbench[ray]')"
            ) from None
        address, former = self.params.address, signal.getsignal(signal.SIGTERM)
        if address in ("", "auto"):
            address = os.environ.get("RAY_ADDRESS", address)
        try:
            _check_answers(address)
            ray.init(
                address=address or None,
                namespace="fpbench",
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
        except (OSError, RuntimeError, ValueError, SystemExit) as error:
            # It exits where it has waited in vain.
            raise MissingResource(
                f"executor ray: expected a Ray cluster at {address or 'this machine'}, got "
                f"{_last_line(error)}; see with `ray status` whether it runs, say its "
                "address=host:port, run this again, or use --executor local"
            ) from None
        finally:
            if signal.getsignal(signal.SIGTERM) is not former:
                signal.signal(signal.SIGTERM, former)
        return ray


def _check_answers(address: str) -> None:
    """Whether anybody listens there; Ray itself tries for minutes.

    Raises:
        OSError: nobody does.
    """
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), _ANSWER_S).close()


def _listed(asked: dict[str, Any]) -> str:
    gib = asked["memory"] / 2**30
    return f"{asked['CPU']:.0f} CPUs, {asked['GPU']:.0f} GPUs, {gib:.1f} GiB"


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2][:500]
