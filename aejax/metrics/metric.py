"""What one row of the table of metrics says, and how rows are made from others."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

INF = math.inf
BESIDE = ("robust", "cross_data", "training")  # groups that evaluate.groups cannot choose


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric, or a family: {noise}, {level}, {data} and {term} in its name stand for any text."""

    name: str
    group: str  # of evaluate.groups, or one of BESIDE
    better: int  # 1: larger is better, -1: smaller is better, 0: neither
    meaning: str
    unit: str = ""
    range: tuple[float, float] = (-INF, INF)
    only: str = ""  # for which data or models it is computed; for others it is absent, not null
    needs: tuple[str, ...] = ()  # it is null unless these hold; aejax.evaluation.annotations checks them
    depends: tuple[str, ...] = ()  # what compared runs must share besides the test examples
    across_sizes: bool = True  # whether it is comparable between runs of different latent_dim
    agreement: str = "loose"  # of two evaluations of a run: exact, root, smooth, share or loose (runs.reproduction)
    log: bool = False  # charts show it on a logarithmic axis
    beside: tuple[str, ...] = ()  # baselines that a table shows next to it
    headline: int = 0  # its place among the default columns of a table; 0: not among them
    label: str = ""  # the header of its column, if not its name
    source: str = ""
    formerly: str = ""  # its name in runs of a format before 3


def like(
    rows: Sequence[Metric],
    name: str,
    of: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    depends: Sequence[str] = (),
    **changes: Any,
) -> tuple[Metric, ...]:
    """Copies of `rows` under the new `name`, in which {of} stands for the last part of the old names.

    `of` selects among the last parts; conditions in `drop` are removed from `needs`; `depends` are added; `changes`
    replace other fields.
    """
    changed_rows = []
    for row in rows:
        last, before = (text.rpartition("/")[2] for text in (row.name, row.formerly))
        if of is None or last in of:
            changed: dict[str, Any] = {
                "name": name.replace("{of}", last),
                "formerly": before and name.replace("{of}", before),
                "needs": tuple(need for need in row.needs if need not in drop),
                "depends": (*row.depends, *depends),
                "headline": 0,
            }
            changed_rows.append(dataclasses.replace(row, **changed | changes))
    return tuple(changed_rows)
