"""Predictions of rows that are not in memory are those of the rows, column by column, but for rounding."""

import os
from functools import cache

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from distributed import Client, LocalCluster

import bayesmixed as bm

FORMULA = "Reaction ~ Days + (Days | Subject)"


@cache
def sleepstudy():
    return bm.datasets.load_sleepstudy()


@cache
def regressor():
    return bm.MixedModelRegressor(FORMULA, random_state=0).fit(sleepstudy())


@cache
def classifier():
    df = sleepstudy()
    return bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(
        df, np.where(df["Reaction"] > 300, "slow", "quick")
    )


@cache
def ordered():
    df = sleepstudy()
    classes = np.digitize(df["Reaction"], [250, 320])
    est = bm.MixedModelClassifier("Days + (1 | Subject)", family="cumulative", random_state=0)
    return est.fit(df, classes)


CALLS = [
    (regressor, "predict", {}, ["prediction"]),
    (regressor, "predict", {"return_std": True, "new_groups": "zero"}, ["prediction", "std"]),
    (regressor, "predict_interval", {"coverage": 0.5}, ["lower", "upper"]),
    (regressor, "predict_quantiles", {"quantiles": [0.05, 0.5], "kind": "mean"}, ["q0.05", "q0.5"]),
    (regressor, "predict_quantiles", {"quantiles": 0.5}, ["q0.5"]),
    (classifier, "predict", {}, ["prediction"]),
    (classifier, "predict_proba", {}, ["proba_quick", "proba_slow"]),
    (classifier, "predict_log_proba", {"include_groups": False}, ["log_proba_quick", "log_proba_slow"]),
    (classifier, "decision_function", {}, ["decision"]),
    (classifier, "predict_interval", {}, ["lower", "upper"]),
    (ordered, "predict_interval", {}, [f"{end}_{k}" for k in range(3) for end in ("lower", "upper")]),
    (ordered, "predict_quantiles", {"quantiles": [0.5], "kind": "linear"}, ["q0.5"]),
]


def in_memory(est, method, arguments, rows, names):
    """The twin: what the method finds of a frame, with names."""
    found = getattr(est, method)(rows, **arguments)
    columns = found if isinstance(found, tuple) else found.reshape(len(rows), -1).T
    columns = [column.tolist() for column in columns] if isinstance(found, tuple) else columns.tolist()
    return pd.DataFrame(dict(zip(names, columns, strict=True)), index=rows.index)


def new_rows():
    """Of known and new subjects."""
    rows = sleepstudy().iloc[::-1].reset_index(drop=True)
    return rows.assign(Subject=rows["Subject"].where(rows.index % 7 > 0, 999))


@pytest.mark.parametrize(("fitted", "method", "arguments", "names"), CALLS)
def test_a_dask_frame_has_lazy_predictions_with_its_index(fitted, method, arguments, names):
    frame = dd.from_pandas(new_rows(), npartitions=4)
    lazy = frame[frame["Days"] > 2]

    found = getattr(fitted(), method)(lazy, **arguments)

    expected = in_memory(fitted(), method, arguments, lazy.compute(), names)
    assert isinstance(found, dd.DataFrame if len(names) > 1 else dd.Series)
    computed = found.compute() if len(names) > 1 else found.to_frame().compute()
    pd.testing.assert_frame_equal(computed, expected, check_dtype=False, rtol=1e-9)
    meta = found._meta if len(names) > 1 else found._meta.to_frame()
    assert (meta.dtypes == computed.dtypes).all()


@pytest.mark.parametrize(("fitted", "method", "arguments", "names"), CALLS)
def test_a_stream_has_a_stream_of_its_columns_and_predictions(fitted, method, arguments, names):
    rows = new_rows()
    stream = pa.Table.from_pandas(rows).to_reader(max_chunksize=50)

    found = getattr(fitted(), method)(stream, **arguments)

    assert isinstance(found, pa.RecordBatchReader)
    assert found.schema.names == ["Reaction", "Days", "Subject", *names]
    table = found.read_all().to_pandas()
    pd.testing.assert_frame_equal(table[list(rows)], rows)
    expected = in_memory(fitted(), method, arguments, rows, names)
    pd.testing.assert_frame_equal(table[names], expected, check_dtype=False, rtol=1e-9)


def sources(folder):
    rows = new_rows()
    for at in range(3):
        pyarrow.parquet.write_table(pa.Table.from_pandas(rows.iloc[at * 60 : (at + 1) * 60]), f"{folder}/{at}.parquet")
    table = pa.Table.from_pandas(rows)
    return {
        "path": f"{folder}/1.parquet",
        "folder": folder,
        "dataset": pa.dataset.dataset(folder),
        "reader": table.to_reader(),
        "lazy polars": pl.from_arrow(table).lazy(),
        "duckdb": duckdb.sql("select * from rows"),
    }


@pytest.mark.parametrize("kind", ["path", "folder", "dataset", "reader", "lazy polars", "duckdb"])
def test_every_kind_of_stream_is_read(tmp_path, kind):
    source = sources(tmp_path)[kind]
    rows = new_rows().iloc[60:120] if kind == "path" else new_rows()

    found = regressor().predict(source).read_all()

    assert np.array_equal(found["prediction"].to_numpy(), regressor().predict(rows))


def test_a_stream_is_read_when_its_predictions_are():
    read = []

    def batches():
        for batch in pa.Table.from_pandas(new_rows()).to_batches(max_chunksize=60):
            read.append(batch.num_rows)
            yield batch

    schema = pa.Table.from_pandas(new_rows()).schema
    found = regressor().predict(pa.RecordBatchReader.from_batches(schema, batches()))

    assert read == []
    found.read_next_batch()
    assert read == [60]


def test_what_is_wrong_is_said_before_anything_is_computed():
    rows = new_rows().drop(columns="Subject")
    with pytest.raises(bm.FormulaError, match="uses 'Subject', which is not a column of X"):
        regressor().predict(dd.from_pandas(rows, npartitions=2))
    with pytest.raises(bm.FormulaError, match="uses 'Subject', which is not a column of X"):
        regressor().predict(pa.Table.from_pandas(rows).to_reader())
    with pytest.raises(ValueError, match="new_groups"):
        regressor().predict(dd.from_pandas(new_rows(), npartitions=2), new_groups="other")


def test_a_column_of_a_predictions_name_is_not_lost():
    rows = new_rows().assign(prediction=1.0)

    with pytest.raises(ValueError, match=r"the stream has columns 'prediction'.*rename them"):
        regressor().predict(pa.Table.from_pandas(rows).to_reader())


@pytest.mark.parametrize("quantiles", [[0.5, 0.5], [0.1, 0.25, 0.1 + 1e-12]])
def test_quantiles_of_one_name_are_refused(quantiles):
    for source in (dd.from_pandas(new_rows(), npartitions=2), pa.Table.from_pandas(new_rows()).to_reader()):
        with pytest.raises(ValueError, match=r"would have the name 'q0\.[15]'"):
            regressor().predict_quantiles(source, quantiles)


METHODS = ["predict_draws", "sample_posterior_predictive", "sample_prior", "bayes_r2", "loo", "build_model", "score"]


@pytest.mark.parametrize("method", [*METHODS, "condition", "partial_fit"])
def test_methods_that_need_rows_in_memory_say_so(method, tmp_path):
    parts = [new_rows()[:90], new_rows()[90:]]
    for source in (*sources(tmp_path).values(), dd.from_pandas(new_rows(), npartitions=2), parts, str(tmp_path)):
        with pytest.raises(TypeError, match=r"needs rows in memory, got .*X\.compute\(\).* part after part in a loop"):
            getattr(regressor(), method)(source)
    for name in ("predict", "predict_interval"):
        with pytest.raises(TypeError, match="needs rows in memory, got a list"):
            getattr(regressor(), name)(parts)
    with pytest.raises(TypeError, match=r"^score needs rows in memory, got a RecordBatchReader"):
        classifier().score(sources(tmp_path)["reader"])


def test_a_new_group_under_error_is_an_error_of_its_batch():
    found = regressor().predict(pa.Table.from_pandas(new_rows()).to_reader(), new_groups="error")

    with pytest.raises(Exception, match="999"):
        found.read_all()


def test_an_error_in_a_batch_says_which_it_is():
    rows = new_rows()
    rows.loc[70, "Days"] = np.nan
    found = regressor().predict(pa.Table.from_pandas(rows).to_reader(max_chunksize=60))

    with pytest.raises(ValueError, match="'Days' has 1 missing") as error:
        found.read_all()
    assert error.value.__notes__ == ["This is batch 1 of the stream; its first row is row 60 of all."]


def test_partitions_without_rows_have_no_predictions():
    est = bm.MixedModelRegressor(random_state=0).fit(sleepstudy()[["Days"]], sleepstudy()["Reaction"])
    lazy = dd.from_pandas(new_rows()[["Days"]].sort_values("Days", ignore_index=True), npartitions=6)

    found = est.predict(lazy[lazy["Days"] > 7]).compute()

    assert np.array_equal(found, est.predict(new_rows()[["Days"]].sort_values("Days").query("Days > 7")))


def test_parts_without_rows_may_have_columns_of_text():
    rows = new_rows().assign(early=lambda own: np.where(own["Days"] < 3, "yes", "no"))
    est = bm.MixedModelRegressor("Reaction ~ early + (1 | Subject)", random_state=0).fit(rows)
    table = pa.Table.from_pandas(rows)
    stream = pa.RecordBatchReader.from_batches(table.schema, [*table.slice(0, 0).to_batches(), *table.to_batches()])

    assert np.array_equal(est.predict(stream).read_all()["prediction"].to_numpy(), est.predict(rows))
    lazy = dd.from_pandas(rows.sort_values("Days"), npartitions=3)
    assert np.allclose(est.predict(lazy[lazy["Days"] > 8]).compute(), est.predict(lazy[lazy["Days"] > 8].compute()))


def test_an_estimator_that_waits_is_drawn_before_it_travels():
    est = bm.MixedModelRegressor(FORMULA, random_state=0).partial_fit(sleepstudy())

    found = est.predict(dd.from_pandas(new_rows(), npartitions=3)).compute()

    assert np.array_equal(found, bm.MixedModelRegressor(FORMULA, random_state=0).fit(sleepstudy()).predict(new_rows()))


class Counted(bm.MixedModelRegressor):
    """Writes down where it was unpickled."""

    def __setstate__(self, state):
        super().__setstate__(state)
        with open(os.environ["UNPICKLED"], "a") as file:
            file.write(f"{os.getpid()}\n")


@pytest.mark.slow
def test_a_fitted_estimator_goes_to_each_worker_once(tmp_path, monkeypatch):
    monkeypatch.setenv("UNPICKLED", str(tmp_path / "log"))
    est = Counted(FORMULA, random_state=0).fit(sleepstudy())
    frame = dd.from_pandas(new_rows(), npartitions=20)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        found = est.predict(frame).compute()
        workers = [info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()]

    assert np.array_equal(found, est.predict(new_rows()))
    unpickled = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert all(unpickled.count(pid) <= 1 for pid in workers)
    assert set(unpickled) & set(workers)
