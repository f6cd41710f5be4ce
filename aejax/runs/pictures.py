"""The pictures of one lane: computed on the device, drawn on the host."""

import jax
import numpy as np

from aejax.figures.examples import SHOWN, picked
from aejax.models.layers import code_width
from aejax.training.lanes import Layout
from aejax.training.lanes import lane as one_lane


def pictures(lane, picture, params, data):
    """(file name, bytes) of each picture of a Lane whose codes are written, by the program `picture`."""
    from aejax.figures import codes, drawing  # take half a second to import

    job, run, alone = lane.job, lane.run, Layout(1, "map")
    z = run.codes
    grid = codes.code_grid(z["z"])
    grid_GxZ = np.pad(grid.z, ((0, 0), (0, code_width(params) - grid.z.shape[1])))
    rows_N = picked(len(job.dataset.test.x), SHOWN, job.dataset.test.y)
    inputs = [alone.stack([job.experiment]), alone.stack([params]), alone.share(data), grid_GxZ, rows_N]
    shown = one_lane(jax.device_get(picture(*inputs)), 0) | {"rows": rows_N}
    return drawing.draw(job, lane.rows, run.metrics, run.record["evaluation"], z, grid, shown)
