"""One run over several devices, of one process or of several: the examples of a batch are split among them."""

import contextlib

import jax
import numpy as np
from flax import struct
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aejax.base import processes
from aejax.base.devices import cores
from aejax.base.errors import InputError
from aejax.settings.fields import static_int, static_str

LANES, DATA = "lanes", "data"  # the axes of a mesh of devices


@struct.dataclass
class Mesh:
    """Over how many devices each batch is split, and by which processes; process 0 listens at `address`, host:port."""

    data: int = static_int(1)
    processes: int = static_int(1)
    process: int | None = static_int(0, optional=True)
    address: str | None = static_str(optional=True)

    def open(self):
        """Makes the devices ready before JAX is initialized, and meets the other processes.

        Raises InputError, also where they do not come.
        """
        self._check_numbers()
        if self.data > 1:
            own = min(self.data // self.processes, cores())  # on a CPU, a device is at least a core
            with contextlib.suppress(RuntimeError):  # JAX is initialized in this process: its devices stay
                jax.config.update("jax_num_cpu_devices", max(own, jax.config.jax_num_cpu_devices))
        if self.processes > 1:
            processes.join(self.processes, self.process, self.address)

    def _check_numbers(self):
        if self.process is not None and self.process >= self.processes:
            raise InputError(f"mesh.process={self.process}: must be below mesh.processes={self.processes}, from 0 on")
        if self.data % self.processes:
            raise InputError(f"mesh.data={self.data}: must be a multiple of mesh.processes={self.processes}")
        if self.address is not None and not is_address(self.address):
            raise InputError(f"mesh.address={self.address}: must be host:port of process 0, or null")

    def check(self, experiment, elsewhere=False):
        """Raises InputError where these devices do not exist, or cannot split a batch of a settled experiment.

        The devices are not counted where the training is `elsewhere`.
        """
        self._check_numbers()
        if self.processes != processes.count():
            raise InputError(
                f"mesh.processes={self.processes}: must be 1 in a sweep, from Python, and to resume; a single run of "
                "`python -m aejax` takes more"
            )
        if self.data == 1:
            return
        if experiment.model.solver.closed_form:
            raise InputError(
                f"mesh.data={self.data}: {experiment.model_title} is fitted in closed form and takes no steps; use "
                "mesh.data=1"
            )
        most = self.data if elsewhere else self.processes * min(map(len, by_process()))
        if self.data > most:
            raise InputError(f"mesh.data={self.data}: must be at most the number of devices, {most}")
        if experiment.batch_size % self.data:
            allowed = [str(count) for count in range(1, most + 1) if experiment.batch_size % count == 0]
            raise InputError(
                f"mesh.data={self.data}: must divide batch_size={experiment.batch_size}; possible on {most} devices: "
                f"{', '.join(allowed)}"
            )


def is_address(text):
    """Whether a text is host:port."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def by_process():
    """The devices of each process."""
    owned = {}
    for device in jax.devices():
        owned.setdefault(device.process_index, []).append(device)
    return [owned[process] for process in sorted(owned)]


def mesh_of(lanes, data):
    """The mesh of so many devices for lanes, each with `data` devices that split its batches.

    The first device of each lane is that which it would have alone. Of several processes each has an equal share.
    """
    owned = by_process()
    chosen = [device for devices in owned for device in devices[: lanes * data // len(owned)]]
    axes = np.array(chosen).reshape(data, lanes).T
    return jax.sharding.Mesh(axes, (LANES, DATA), axis_types=(AxisType.Auto,) * 2)


def put(array, sharding):
    """An array of the host on the devices, also on those of other processes, which hold the same array."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def divided(tree):
    """Arrays [B, ...] of a step, of which each device of its lane computes a part; as they are where it has one."""
    if DATA not in jax.sharding.get_abstract_mesh().axis_names:
        return tree
    return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, PartitionSpec(DATA)), tree)


def collected(array, mesh):
    """An array that is replicated over the data axis, as the devices of `mesh`, the first of each lane, hold it."""
    sharding = NamedSharding(mesh, array.sharding.spec)
    parts = [shard.data for shard in array.addressable_shards if shard.device in sharding.device_set]
    return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)
