"""What a merge costs each of n workers that have a core to themselves, for n = 2 to 64.

A merge is split into slices, and each worker merges its share of them for all replicas. A share can
be timed alone, one after another, so that n may be more than there are cores:

share    a worker's slices, and what is done by one while the others wait; the median over passes
         that take the shares of all workers in turn. The parameters of the replicas come from
         the caches of this core (small n) or the one that all cores share.
load     a replica's copying of the new master, which its own worker does as the next round begins
loop     handing out a loop's work to a team of threads and waiting for its end: measured with the
         cores there are, so for as many threads as that at most; a merge takes one or two loops

    python -m benchmarks.merging.cost
    python -m benchmarks.merging.cost --layers 784 512 10 --methods adasum median
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from omp_mlp import _core, merge_methods

from ..common import tables
from ..common.arguments import parser
from ..common.files import write_json
from ..common.machine import available_cores, describe_run, stamp

THREADS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class MergeCost:
    """Medians, in seconds: what each of ``threads`` workers spends on a merge.

    ``seconds`` is all of it: the share, the load, and a loop's overhead as often as the merge has
    loops. It is modelled where there are fewer cores than threads.
    """

    method: str
    threads: int
    share_seconds: float
    load_seconds: float
    loop_seconds: float
    loops: int

    @property
    def seconds(self) -> float:
        """Return what the merge costs a worker in all."""
        return self.share_seconds + self.load_seconds + self.loops * self.loop_seconds


def measure(
    method: str,
    threads: int,
    layer_sizes: Sequence[int] = (784, 128, 10),
    *,
    touched: float | None = None,
    workers: int | None = None,
    passes: int = 200,
) -> MergeCost:
    """Measure a merge of ``threads`` replicas of such a network.

    ``touched`` is the share of the rows of a sparse first layer that each replica has touched in
    the round; None if that layer is dense. Others are not read. Those that are, a replica loads
    when a sample needs them: it is in the time of a round and not in that of a merge.
    """
    row = next(row for row in merge_methods() if row.name == method)
    costs = _core.merge_cost(
        method=_core.merge_method(method),
        options=[option.words[0] for option in row.options],  # the defaults
        layer_sizes=list(layer_sizes),
        touched=touched,
        outer=_core.OuterStep(
            learning_rate=1.0,
            momentum=0.5 if row.cadence == "periodic" else 0.0,
            nesterov=False,
        ),
        replicas=threads,
        workers=workers or min(threads, available_cores()),
        passes=max(passes, threads),
    )
    seconds = map(median, (costs.share_seconds, costs.load_seconds, costs.loop_seconds))
    return MergeCost(method, threads, *seconds, costs.loops)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    names = [row.name for row in _core.merge_methods()]  # those in Python have no slices
    reader = parser(__doc__, "threads", "passes", "out", threads=list(THREADS), passes=200)
    reader.add_argument("--methods", nargs="+", default=names, choices=names, metavar="NAME")
    reader.add_argument("--layers", type=int, nargs="+", default=[784, 128, 10], metavar="SIZE")
    touched = "of the rows of a sparse first layer, by each replica; without it, it is dense"
    reader.add_argument("--touched", type=float, metavar="SHARE", help=touched)
    arguments = reader.parse_args(argv)
    options = {
        "layer_sizes": arguments.layers, "touched": arguments.touched, "passes": arguments.passes,
    }  # fmt: skip
    about = describe_run("python -m benchmarks.merging.cost", options)
    costs = [
        measure(method, threads, **options)
        for method in arguments.methods
        for threads in arguments.threads
    ]
    rows = [
        [
            cost.method,
            str(cost.threads),
            *(f"{1e6 * part:.1f}" for part in (cost.share_seconds, cost.load_seconds)),
            str(cost.loops),
            *(f"{1e6 * part:.1f}" for part in (cost.loop_seconds, cost.seconds)),
        ]
        for cost in costs
    ]
    sizes = "-".join(map(str, arguments.layers))
    print(f"{stamp(about)}\n{sizes}; microseconds, medians of each worker's part")
    header = ["method", "n", "share", "load", "loops", "loop", "all"]
    print(tables.as_text(header, rows, numeric=True))
    found = [{**asdict(cost), "seconds": cost.seconds} for cost in costs]
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("Wrote", write_json(arguments.out / "merge_cost.json", {**about, "costs": found}))


if __name__ == "__main__":
    main()
