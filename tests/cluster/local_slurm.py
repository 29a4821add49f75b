"""Run a real Slurm on one machine, for tests.

``local_slurm()`` starts munged, slurmctld and several slurmd daemons in a temporary folder, with
no cgroups, no accounting database and nothing outside that folder, and ends all of it on exit. It
needs root and Debian's ``slurmctld slurmd slurm-client munge``, and raises ``NoSlurm`` where it
cannot run.

    with local_slurm(nodes=2) as slurm:
        subprocess.run(["sbatch", "job.sh"], env=slurm.env, check=True)
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 30.0
SLURMD_TIMEOUT = 10
KILL_WAIT = 5
REQUEUE_SECONDS = 5
PARTITION = "main"
HIGH_PARTITION = "high"

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_BINARIES = (
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "squeue",
    "scancel",
    "scontrol",
    "sinfo",
)


class NoSlurm(Exception):
    """Slurm cannot be run here; ``reason`` is a sentence that a skipped test can show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class LocalSlurm:
    """A running Slurm: ``env`` is what sbatch, squeue, scancel and the rest need to reach it."""

    root: Path
    env: dict[str, str]
    nodes: tuple[str, ...]
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, repr=False)

    def run(self, *command: str, seconds: float = 20.0) -> str:
        """Run one Slurm command and return what it prints; raise if it fails."""
        done = subprocess.run(
            command, env=self.env, check=True, capture_output=True, text=True, timeout=seconds
        )
        return done.stdout.strip()

    def node_states(self) -> dict[str, str]:
        """Tell each node's state as sinfo says it ("idle", "mixed", "down*", ...)."""
        lines = self.run("sinfo", "-h", "-N", "-p", PARTITION, "-o", "%N %T").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def wait_for_nodes(
        self,
        names: Sequence[str] | None = None,
        states: Sequence[str] = ("idle",),
        seconds: float = START_SECONDS,
    ) -> None:
        """Wait until each of the nodes is in one of the states; raise TimeoutError if not."""
        wanted = tuple(names) if names is not None else self.nodes
        needed = {"munged", "slurmctld"}
        if not any(state.startswith("down") for state in states):
            needed.update(wanted)
        end = time.monotonic() + seconds
        seen: dict[str, str] = {}
        while time.monotonic() < end:
            for name in sorted(needed & self._daemons.keys()):
                code = self._daemons[name].poll()
                if code is not None:
                    raise TimeoutError(f"{name} ended with exit code {code}")
            with suppress(subprocess.SubprocessError, ValueError):  # It may not answer yet.
                seen = self.node_states()
            if all(seen.get(name) in states for name in wanted):
                return
            time.sleep(0.2)
        raise TimeoutError(f"after {seconds:.0f} s nodes are {seen or 'unknown'}")

    def start_node(self, name: str, wait: bool = True) -> None:
        """Start a node's slurmd (again); by default wait until the node can take jobs."""
        if name not in self.nodes:
            raise ValueError(f"no node {name!r}; there are {', '.join(self.nodes)}")
        old = self._daemons.get(name)
        if old is not None and old.poll() is None:
            return
        self._start(name, ["slurmd", "-D", "-N", name, "-f", self.env["SLURM_CONF"]])
        if wait:
            self.wait_for_nodes([name], ("idle", "mixed", "allocated", "completing"))

    def kill_node(self, name: str, jobs_too: bool = True) -> None:
        """End a node at once, with SIGKILL, as a power cut would.

        With ``jobs_too=False`` only slurmd is killed: its slurmstepd daemons and the jobs go on
        (that is what Slurm does), and can even complete while the node is taken for dead.
        """
        if name not in self.nodes:
            raise ValueError(f"no node {name!r}; there are {', '.join(self.nodes)}")
        daemon = self._daemons[name]
        _kill_group(daemon, signal.SIGKILL)
        daemon.wait()
        if jobs_too:
            _kill_all_with(f"SLURMD_NODENAME={name}", self.env["SLURM_CONF"])

    def mark_down(self, name: str) -> None:
        """Tell slurmctld that a node is down, instead of waiting until it notices (some 25 s)."""
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def log(self, name: str) -> str:
        """Return a daemon's log ("munged", "slurmctld", or a node's name)."""
        path = self.root / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _start(self, name: str, command: Sequence[str]) -> None:
        env = dict(self.env)
        if name in self.nodes:
            env["SLURMD_NODENAME"] = name  # Inherited by slurmstepd: how kill_node finds it.
        with (self.root / "log" / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command,
                env=env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self) -> None:
        """End every daemon, every slurmstepd and every job that this Slurm started."""
        for name in self.nodes:
            if name in self._daemons:
                _kill_group(self._daemons[name], signal.SIGKILL)
        others = [self._daemons[n] for n in ("slurmctld", "munged") if n in self._daemons]
        for daemon in others:
            _kill_group(daemon, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(3)
            _kill_group(daemon, signal.SIGKILL)
        for daemon in self._daemons.values():
            daemon.wait()
        _kill_all_with(None, self.env["SLURM_CONF"])


def _kill_group(daemon: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a daemon's process group (its own session), if it is still there."""
    with suppress(ProcessLookupError):
        os.killpg(daemon.pid, number)


def _process_table() -> tuple[dict[int, list[int]], dict[int, list[bytes]]]:
    """Return each process's children and its environment, read from /proc."""
    children: dict[int, list[int]] = {}
    environs: dict[int, list[bytes]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            environ = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
        environs[int(entry.name)] = environ
    return children, environs


def _kill_all_with(node: str | None, conf: str) -> None:
    """Kill slurmd, slurmstepd and jobs of this Slurm (of one node, if told), with descendants.

    slurmstepd leaves slurmd's session, so a process group does not reach it. It and its jobs do
    carry SLURM_CONF and SLURMD_NODENAME in their environment, and their children are theirs.
    """
    marks = {f"SLURM_CONF={conf}".encode()} | ({node.encode()} if node else set())
    starters = {b"slurmstepd", b"slurmd", b"slurmctld", b"munged"}
    for _ in range(20):
        children, environs = _process_table()
        todo = []
        for pid, environ in environs.items():
            if pid == os.getpid() or not marks <= set(environ):
                continue
            in_job = any(item.startswith(b"SLURM_JOB_ID=") for item in environ)
            if in_job or _name(pid) in starters:
                todo.append(pid)
        found: set[int] = set()
        while todo:
            pid = todo.pop()
            if pid not in found and pid != os.getpid():
                found.add(pid)
                todo.extend(children.get(pid, []))
        # slurmstepd first, so that it can't report the death of its job.
        for pid in sorted(found, key=lambda pid: _name(pid) not in starters):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.05)


def _name(pid: int) -> bytes:
    """Return a process's program name, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/exe").resolve().name.removesuffix("-wlm").encode()
    except OSError:
        return b""


def _free_ports(count: int) -> list[int]:
    """Return TCP ports that nothing listens on now, below those given to outgoing connections."""
    ports: list[int] = []
    for port in random.sample(range(12000, 32000), 2000):
        try:
            with socket.socket() as sock:
                sock.bind(("", port))
        except OSError:
            continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"no {count} free TCP ports")


def _write_conf(root: Path, nodes: Sequence[str], cpus: int, gpus: int, extra: str) -> None:
    """Write slurm.conf and what it needs into the folder."""
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(1 + len(nodes))
    lines = [
        "ClusterName=local",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={ports[0]}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={root}/munge.sock,cred_expire={REQUEUE_SECONDS}",
        "CredType=cred/munge",
        f"StateSaveLocation={root}/state",
        f"SlurmdSpoolDir={root}/spool/%n",
        f"SlurmctldPidFile={root}/slurmctld.pid",
        f"SlurmdPidFile={root}/%n.pid",
        f"SlurmctldLogFile={root}/log/slurmctld.log",
        f"SlurmdLogFile={root}/log/%n.log",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "MailProg=/bin/true",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "JobCompType=jobcomp/none",
        "SwitchType=switch/none",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU",
        "SlurmdParameters=config_overrides",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "JobRequeue=1",
        "ReturnToService=2",
        f"SlurmdTimeout={SLURMD_TIMEOUT}",
        "SlurmctldTimeout=10",
        f"KillWait={KILL_WAIT}",
        "MinJobAge=3600",
        extra,
    ]
    if gpus:
        lines.append("GresTypes=gpu")
        files = [root / f"gpu{number}" for number in range(gpus)]
        for path in files:  # Slurm wants device files: copies of /dev/null serve.
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (root / "gres.conf").write_text("".join(f"Name=gpu File={path}\n" for path in files))
    for name, port in zip(nodes, ports[1:], strict=True):
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            f" CPUs={cpus} RealMemory=4096 State=UNKNOWN" + (f" Gres=gpu:{gpus}" if gpus else "")
        )
    where = f"Nodes={','.join(nodes)} State=UP"
    lines += [
        f"PartitionName={PARTITION} {where} Default=YES PriorityTier=1 GraceTime=0",
        f"PartitionName={HIGH_PARTITION} {where} PriorityTier=10 PreemptMode=OFF",
    ]
    (root / "slurm.conf").write_text("\n".join(lines) + "\n")
    (root / "cgroup.conf").write_text("CgroupAutomount=no\n")


@contextmanager
def local_slurm(
    nodes: int = 2, *, cpus: int = 2, gpus: int = 0, extra: str = ""
) -> Iterator[LocalSlurm]:
    """Run Slurm with ``nodes`` nodes (node1, node2, ...) of ``cpus`` jobs each, and end it after.

    ``gpus`` is how many pretended GPUs each node has, for ``--gres=gpu:N``; ``extra`` is text to
    add to slurm.conf. Raises NoSlurm where Slurm cannot be run.
    """
    missing = [name for name in _BINARIES if shutil.which(name, path=_PATH) is None]
    if missing:
        raise NoSlurm(f"Slurm is not installed: no {', '.join(missing)} in {_PATH}.")
    if os.geteuid() != 0:
        raise NoSlurm("Slurm's daemons need root here, and this is not root.")
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SQUEUE"))}
    env["SLURM_CONF"] = str(root / "slurm.conf")
    env["PATH"] = os.pathsep.join(filter(None, (env.get("PATH"), _PATH)))
    names = tuple(f"node{number}" for number in range(1, nodes + 1))
    slurm = LocalSlurm(root, env, names)
    try:
        root.chmod(0o755)  # munged refuses a socket that others could not reach.
        for part in ("state", "spool", "log"):
            (root / part).mkdir(mode=0o755)
        try:
            _write_conf(root, names, cpus, gpus, extra)
        except OSError as error:
            raise NoSlurm(f"Slurm's configuration cannot be written: {error}.") from error
        key = root / "munge.key"
        key.touch(mode=0o400)
        key.chmod(0o600)
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        try:
            _start_all(slurm)
        except (TimeoutError, OSError) as error:
            raise NoSlurm(f"Slurm's daemons did not come up: {error}.{_why(slurm)}") from error
        yield slurm
    finally:
        slurm._stop()
        shutil.rmtree(root, ignore_errors=True)


def _start_all(slurm: LocalSlurm) -> None:
    """Start munged, slurmctld and the nodes, and wait until all the nodes are idle."""
    end = time.monotonic() + START_SECONDS
    root = slurm.root
    sock = root / "munge.sock"
    slurm._start(
        "munged",
        [
            "munged",
            "--foreground",
            "--force",  # A temporary folder's parents may be closed to others; all here is root.
            f"--socket={sock}",
            f"--key-file={root}/munge.key",
            f"--log-file={root}/log/munged.log",
            f"--pid-file={root}/munged.pid",
            f"--seed-file={root}/munged.seed",
        ],
    )
    while not sock.exists():
        if slurm._daemons["munged"].poll() is not None:
            raise TimeoutError("munged ended at once")
        if time.monotonic() > end:
            raise TimeoutError("munged made no socket")
        time.sleep(0.05)
    slurm._start("slurmctld", ["slurmctld", "-D", "-f", slurm.env["SLURM_CONF"]])
    for name in slurm.nodes:
        slurm.start_node(name, wait=False)
    slurm.wait_for_nodes(seconds=max(1.0, end - time.monotonic()))


def _why(slurm: LocalSlurm) -> str:
    """Return the last error lines of the daemons' logs, in one line, for NoSlurm's reason."""
    found: list[str] = []
    for path in sorted((slurm.root / "log").glob("*")):
        lines = path.read_text(errors="replace").splitlines()
        bad = [ln for ln in lines if "error" in ln.lower() or "fatal" in ln.lower()]
        found += [f"{path.name}: {line}" for line in bad[-2:]]
    return f" Logs say: {'; '.join(found)}" if found else ""
