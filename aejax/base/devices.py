"""Cores, GPUs and memory that this process may use; the answers do not change while it runs."""

import functools
import importlib.util
import os
from pathlib import Path

import jax

from aejax.base.errors import InputError
from aejax.compat import jax_compat

GROUPS = Path("/proc/self/cgroup")  # the control groups of this process, such as a container's or a batch job's
CARDS = Path("/dev")  # with nvidia0, nvidia1, …
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")  # with one of which JAX uses NVIDIA GPUs
TREES = {"": ("/sys/fs/cgroup", "memory.max"), "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")}  # v2, v1


def cores():
    """The number of CPU cores that this process may use, no more than Slurm has allotted, which need not confine it."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([free, *_allotted("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")[:1]])


def gpus(cards=CARDS, plugins=PLUGINS):
    """The NVIDIA GPUs that JAX would use, as CUDA_VISIBLE_DEVICES names them. JAX is not asked: it would claim them."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    is_allowed = not platforms or bool({"cuda", "gpu"} & set(platforms.split(",")))
    if not (is_allowed and any(map(importlib.util.find_spec, plugins))):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return named[: next((place for place, name in enumerate(named) if name in ("", "-1")), None)]  # as CUDA does
    numbers = sorted(int(path.name.removeprefix("nvidia")) for path in cards.glob("nvidia[0-9]*"))
    return [str(number) for number in numbers]


def memory():
    """The memory of all devices together in bytes, free or in use."""
    device = jax.devices()[0]
    return host_memory() if device.platform == "cpu" else len(jax.devices()) * jax_compat.bytes_limit(device)


@functools.cache
def host_memory():
    """The memory of the machine in bytes, or less if this process is limited, or Slurm has allotted less."""
    allotted = [2**20 * mebibytes for mebibytes in _allotted("SLURM_MEM_PER_NODE")]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits(), *allotted])


def _allotted(*names):
    """The whole numbers above 0 in these variables of the environment."""
    texts = [os.environ.get(name, "") for name in names]
    return [int(text) for text in texts if text.isdecimal() and int(text)]


def limits(groups=GROUPS, trees=TREES):
    """The limits in bytes of this process's control groups and their parents; empty without control groups."""
    bounds = []
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, place = line.split(":", 2)
        for root, name in (trees[controller] for controller in controllers.split(",") if controller in trees):
            folder = Path(root, place.lstrip("/"))
            for path in (level / name for level in (folder, *folder.parents) if level.is_relative_to(root)):
                text = path.read_text().strip() if path.is_file() else "max"
                bounds += [] if text == "max" else [int(text)]
    return bounds


def check_memory(needed, subject, allowed):
    """Raises InputError if the host has less than `needed` bytes: `subject` begins the line, `allowed` ends it."""
    if needed > host_memory():
        sizes = f"takes {size(needed)} of memory, and there are {size(host_memory())}"
        raise InputError(f"{subject}: {sizes}; must be {allowed}")


def lack_of_memory(error, smaller):
    """The message for an out-of-memory exception, None for any other; `smaller` names what to reduce."""
    message = jax_compat.lack_of_memory(error)
    if isinstance(error, MemoryError):
        message = (str(error).splitlines() or ["MemoryError"])[0]
    return None if message is None else f"takes more memory than there is ({message.rstrip('.')}); reduce {smaller}"


def size(count):
    """A number of bytes as MiB or GiB."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
