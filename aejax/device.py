"""What there is to compute on: cores and memory, the same each time that they are asked for."""

import os
from pathlib import Path

import jax


def cores():
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory():
    """Bytes that all devices have in total, however much of it is in use."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return len(jax.devices()) * device.memory_stats()["bytes_limit"]
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container, "max" where there is none
    told = limit.read_text().strip() if limit.exists() else "max"
    return own if told == "max" else min(own, int(told))
