"""The rows are in Parquet files, more than fit into memory. Can two workers fit them, and predict the next month?

Dask reads the files, workers sum each partition, and the sums are fitted here: no rows are transferred. The new month
is predicted lazily where its rows are, new couriers included, and written back to Parquet next to its own columns.
Without a cluster, the folder of files is all that `fit` and `predict` need.

    python -m pip install ".[dask]"
    python examples/11_more_than_memory.py
"""

import tempfile
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from distributed import Client, LocalCluster

import bayesmixed as bm

FORMULA = "minutes ~ km + weather + (km | courier)"
WEATHER = ["dry", "rain", "snow"]


def deliveries(month, rng):
    """Rows of one month; each month has some new couriers."""
    n = 20_000
    everyone = np.random.default_rng(0)
    start, pace = everyone.normal(0, 4, 150), everyone.normal(0, 0.5, 150)
    courier = rng.integers(5 * month, 60 + 5 * month, n)
    km, weather = rng.gamma(2, 2, n), rng.choice(3, n, p=[0.6, 0.3, 0.1])
    minutes = 9 + start[courier] + (3 + pace[courier]) * km + np.array([0, 2, 6])[weather] + rng.normal(0, 5, n)
    columns = {"order": np.arange(n) + n * month, "minutes": minutes, "km": km, "weather": np.array(WEATHER)[weather]}
    return pd.DataFrame(columns | {"courier": [f"courier {number}" for number in courier]})


def main():
    """Twelve months to learn from, the thirteenth to predict."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "past").mkdir()
        for month in range(12):
            deliveries(month, rng).to_parquet(folder / "past" / f"{month:02}.parquet", index=False)
        deliveries(12, rng).to_parquet(folder / "next.parquet", index=False)

        # two processes with one thread each; the address of a real cluster works as well
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
            past = dd.read_parquet(folder / "past")
            model = bm.MixedModelRegressor(FORMULA, random_state=0).fit(past)
            print(model.common_effects().round(2))

            new = dd.read_parquet(folder / "next.parquet")
            ends = model.predict_interval(new, coverage=0.9)
            new.assign(expected=model.predict(new), low=ends["lower"], high=ends["upper"]).to_parquet(folder / "out")

        found = pd.read_parquet(folder / "out")
        inside = found["minutes"].between(found["low"], found["high"])
        unknown = ~found["courier"].isin(model.design_spec_.groups[0].levels)
        print(f"\n{len(found):,} predictions, {unknown.sum():,} of them for new couriers.")
        shares = inside[~unknown].mean(), inside[unknown].mean()
        print("90 % intervals hold {:.1%} of known couriers' deliveries, {:.1%} of new ones'.".format(*shares))

        # the same on one machine without Dask: a folder of files, read a few rows at a time
        alone = bm.MixedModelRegressor(FORMULA, random_state=0).fit(folder / "past")
        stream = alone.predict(folder / "next.parquet")
        with pq.ParquetWriter(folder / "alone.parquet", stream.schema) as writer:
            for batch in stream:
                writer.write_batch(batch)
        expected = pd.read_parquet(folder / "alone.parquet")["prediction"]
        assert np.allclose(expected, found["expected"], rtol=1e-6), "one machine or two workers, one posterior"


if __name__ == "__main__":
    main()
