"""What of this machine a run may use: its share of processors and GPUs, not all there are."""

from __future__ import annotations

import os
from pathlib import Path

from fpbench.api import MissingResource
from fpbench.execute.request import Request
from fpbench.plan.stages import TRAINS, Kind

_CGROUP = Path("/sys/fs/cgroup")


def processors() -> int:
    """CPUs that this process may use: by affinity, and by a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, _quota() or count))


def _quota(root: Path = _CGROUP) -> int | None:
    """CPUs that control groups leave to this process, rounded up; None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max", or -1
    return max(1, -(-int(quota) // int(period)))


def memory_gib() -> float:
    """Memory that this process may use, GiB: of the machine, or what control groups leave of it."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (_CGROUP / limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        whole = min(whole, int(text)) if text.isdigit() else whole
        break
    return whole / 2**30


def gpus() -> int:
    """GPUs that this process may see, found without loading torch."""
    there = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return there
    named = []
    for name in (part.strip() for part in shown.split(",")):
        if not name or name.startswith("-"):
            break  # as CUDA reads it: what stands behind an invalid name is not seen
        named.append(name)
    return len(set(named)) if there else 0


def resolve_device(wanted: str, slot: int = 0, devices: int = 1) -> str:
    """The torch device that "auto" stands for; several slots share the GPUs in turn.

    Args:
        wanted: as the user says it.
        slot: number of this process.
        devices: how many GPUs one training takes.

    Raises:
        MissingResource: a GPU is asked for and there is none, or not enough of them.
    """
    import torch

    count = torch.cuda.device_count()
    on_gpus = wanted.startswith("cuda") or (wanted == "auto" and count)
    if devices > 1 and on_gpus and (count < devices or ":" in wanted):
        raise MissingResource(
            f"device: expected {devices} GPUs for one training and no number of one, got {count} "
            f"and --device {wanted}; use fewer --devices, and --device cuda"
        )
    if devices > 1 and wanted == "cuda":
        return f"cuda:{slot % count}"
    if wanted == "auto":
        return f"cuda:{slot % count}" if count else "cpu"
    if wanted.startswith("cuda") and not count:
        raise MissingResource(
            f"device: expected {wanted}, got a machine without a usable GPU; use --device cpu"
        )
    return wanted


def thread_count(request: Request) -> int:
    """CPU threads that a run computes with."""
    return request.threads or processors()


def stage_threads(request: Request, kind: Kind) -> int:
    """CPU threads of one stage: its share, so that what need not wait for others runs beside it.

    A rule of the stage alone, never of what else happens to run: threads may move a last digit.
    """
    total = thread_count(request)
    return max(1, total // request.jobs // (request.devices if kind in TRAINS else 1))


def default_jobs(device: str, fits: int, devices: int = 1) -> int:
    """How many stages to run at a time: one for each GPU; on CPUs one for each core, at most four.

    Where a training takes several devices, as many as there are for.

    Small networks gain more from a second process than from a second thread.
    """
    seen = gpus() if device != "cpu" else 0
    if device.startswith("cuda") or seen:
        return max(1, seen // devices)
    return max(1, min(processors() // devices, fits, 4))
