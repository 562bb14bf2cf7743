"""Rows that do not fit into memory: seconds and memory of a fit to a stream of them, compared with just reading them.

    python benchmarks/streams.py

- `--generated`: 1e9 rows of 1e5 groups with a slope, generated chunk by chunk, once with all groups in every chunk,
  once in the order of the groups: wall and CPU seconds per 1e8 rows, how many of these it took to make the rows, peak
  memory, and the posterior next to the true values;
- `--parquet`: 1e8 rows in files of 1e7, through pyarrow, DuckDB and polars: seconds of the statistics next to those of
  just reading the same columns, and peak memory next to the size of the table;
- `--workers`: Dask's LocalCluster with two workers on 1e7 of these rows, one of which is killed in the middle: the
  draws next to those from rows in memory; and predictions for all rows, written as Parquet.

Without any of these, all. Every measurement is a separate process with one BLAS thread; memory is the process's peak,
next to that after the imports. `--rows` changes 1e9 (and a tenth of it 1e8), `--quick` uses 1e6.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sums import largest_difference, peak

import bayesmixed as bm

FORMULA = "y ~ x + (x | g)"
CHUNK = 1_000_000
GROUPS = 100_000  # at most; of few rows a hundredth of these
TRUE = {"Intercept": 1.0, "x": 0.5, "sd_g[Intercept]": 1.0, "sd_g[x]": 0.3, "sigma": 2.0}


def chunk(at: int, rows: int, chunks: int, order: str) -> pd.DataFrame:
    """One of `chunks` chunks of rows; with order "sorted" it has its share of the groups, else all."""
    groups = min(GROUPS, rows * chunks // 100)
    effects = np.random.default_rng(1).normal(size=(groups, 2)) * [TRUE["sd_g[Intercept]"], TRUE["sd_g[x]"]]
    rng = np.random.default_rng([2, at])
    first, last = at * groups // chunks, (at + 1) * groups // chunks
    g = np.sort(rng.integers(first, last, rows)) if order == "sorted" else rng.integers(0, groups, rows)
    x = rng.normal(3, 1, rows)
    y = TRUE["Intercept"] + effects[g, 0] + (TRUE["x"] + effects[g, 1]) * x + TRUE["sigma"] * rng.normal(size=rows)
    return pd.DataFrame({"x": x, "g": g, "y": y})


def chunks_of(rows: int, order: str) -> Iterator[pd.DataFrame]:
    """All chunks."""
    size = min(CHUNK, rows)
    for at in range(rows // size):
        yield chunk(at, size, rows // size, order)


def describe(est: bm.MixedModelRegressor) -> str:
    """How far the posterior's means are from the values that the rows were made with, in its standard deviations."""
    table = est.summary()
    table = table[table["variable"] != "corr_g"]
    z = (table["mean"] - list(TRUE.values())) / table["sd"]
    return ", ".join(f"{name} {value:+.1f}" for name, value in zip(TRUE, z, strict=True))


class Clock:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self.wall:8.1f} s wall {time.process_time() - self.cpu:8.1f} s CPU"

    def per(self, rows: int) -> str:
        """The same per 1e8 rows."""
        times = 1e8 / rows
        wall, cpu = (time.perf_counter() - self.wall) * times, (time.process_time() - self.cpu) * times
        return f"{wall:6.1f} s wall {cpu:6.1f} s CPU per 1e8 rows"


def generated(rows: int, order: str) -> None:
    """Statistics and posterior of rows that are made chunk by chunk."""
    before = peak()
    sample = max(rows // 100, min(rows, CHUNK))
    clock = Clock()
    for _ in chunks_of(sample, order):
        pass
    alone = clock.per(sample)
    clock = Clock()
    statistics = bm.SufficientStatistics.of(FORMULA, lambda: chunks_of(rows, order))
    took, per = str(clock), clock.per(rows)
    clock = Clock()
    est = bm.MixedModelRegressor(random_state=0).fit(statistics)
    print(
        f"{rows:,} rows, {len(statistics.groups[0].levels):,} groups, {order}\n  making rows alone  {alone}\n"
        f"  statistics         {per}\n  in all             {took}\n  posterior          {clock}\n"
        f"  peak {peak():.0f} MB ({before:.0f} after imports); distance to the truth in posterior sds: {describe(est)}"
    )


def write_rows(folder: Path, rows: int) -> None:
    """Files of Parquet, ten, with row groups of a million rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = min(CHUNK, rows // 10)
    for file in range(10):
        of_file = rows // 10 // size
        with pq.ParquetWriter(folder / f"{file}.parquet", _schema(pa)) as writer:
            for at in range(of_file):
                writer.write_table(pa.Table.from_pandas(chunk(file * of_file + at, size, rows // size, "all")))


def _schema(pa: Any) -> Any:
    return pa.schema([("x", pa.float64()), ("g", pa.int64()), ("y", pa.float64())])


def source_of(kind: str, folder: str) -> Any:
    """The files as something that is read once."""
    files = sorted(str(file) for file in Path(folder).glob("*.parquet"))
    if kind == "path":
        return folder
    if kind == "pyarrow":
        from pyarrow import dataset

        return dataset.dataset(files)
    if kind == "DuckDB":
        import duckdb

        duckdb.sql("SET threads = 1")
        return duckdb.read_parquet(files)
    import polars as pl

    return pl.scan_parquet(files)


def read_alone(kind: str, folder: str) -> None:
    """Read the columns with the library's own means, one batch at a time."""
    before, clock, rows = peak(), Clock(), 0
    source = source_of(kind, folder)
    if kind in ("path", "pyarrow"):
        from pyarrow import dataset

        files = dataset.dataset(folder) if kind == "path" else source
        batches = files.scanner(columns=["x", "g", "y"], batch_readahead=1, fragment_readahead=1).to_batches()
    elif kind == "DuckDB":
        batches = source.to_arrow_reader(2**16)
    else:
        batches = source.select("x", "g", "y").collect_batches(chunk_size=CHUNK)
    for batch in batches:
        rows += len(batch)
    print(f"  {kind:8} read alone {clock}  peak {peak():6.0f} MB ({before:.0f} after imports)  {rows:,} rows")


def read_summed(kind: str, folder: str) -> None:
    """The statistics of the same rows, and their posterior."""
    before, clock = peak(), Clock()
    statistics = bm.SufficientStatistics.of(FORMULA, source_of(kind, folder))
    took, most = str(clock), peak()
    clock = Clock()
    est = bm.MixedModelRegressor(random_state=0).fit(statistics)
    print(
        f"  {kind:8} statistics {took}  peak {most:6.0f} MB ({before:.0f} after imports)  {statistics.n_rows:,} rows; "
        f"posterior {clock}; {describe(est)}"
    )


def parquet(folder: str, rows: int) -> None:
    """Each library in processes of its own."""
    table = rows * 24 / 2**20
    print(f"\nParquet, {rows:,} rows of three columns; the table has {table:,.0f} MB in memory")
    for kind in ("path", "pyarrow", "DuckDB", "polars"):
        for what in ("alone", "summed"):
            again("--read", what, kind, folder)


def workers(folder: str) -> None:
    """Two workers; one is killed while they sum."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    before = peak()
    files = sorted(str(file) for file in Path(folder).glob("*.parquet"))
    one = dd.read_parquet(files[0], split_row_groups=True)
    direct = bm.MixedModelRegressor(FORMULA, random_state=0).fit(pd.read_parquet(files[0]))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        victim = next(iter(client.run(os.getpid).values()))
        for kill in (False, True):
            timer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
            clock = Clock()
            if kill:
                timer.start()
            est = bm.MixedModelRegressor(FORMULA, random_state=0).fit(one)
            took = str(clock)
            timer.cancel()
            difference = largest_difference(direct, est)
            state = "alive" if victim in client.run(os.getpid).values() else "gone"
            print(
                f"  {'a worker killed after 1 s' if kill else 'two workers':26} {took}; largest difference of a draw "
                f"from those of rows in memory, in posterior sds {difference:.1e}; the worker is {state}"
            )
        clock = Clock()
        target = Path(folder) / "predictions"
        one.assign(prediction=est.predict(one)).to_parquet(target)
        written = dd.read_parquet(target)
        apart = np.max(np.abs(written["prediction"].compute().to_numpy() - direct.predict(one.compute())))
        print(f"  predictions of {len(written):,} rows to Parquet {clock}; at most {apart:.1e} from those in memory")
    print(f"  peak of this process, which has held the rows, too: {peak():.0f} MB ({before:.0f} after imports)")


def again(*arguments: str) -> None:
    """Run this script in a process of its own, by one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    subprocess.run([sys.executable, __file__, *arguments], check=True, env=os.environ | one)


def main() -> None:
    """All of it, or parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--rows", type=float, default=1e9)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--killed", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return generated(int(options.make[0]), options.make[1])
    if options.read:
        what, kind, folder = options.read
        return (read_alone if what == "alone" else read_summed)(kind, folder)
    if options.killed:
        return workers(options.killed)
    rows = 1_000_000 if options.quick else int(options.rows)
    every = not (options.generated or options.parquet or options.workers)
    if every or options.generated:
        for order in ("all", "sorted"):
            again("--make", str(rows), order)
    if every or options.parquet or options.workers:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder), rows if options.quick else rows // 10)
            if every or options.parquet:
                parquet(folder, rows if options.quick else rows // 10)
            if every or options.workers:
                print("\nDask")
                again("--killed", folder)
    return None


if __name__ == "__main__":
    main()
