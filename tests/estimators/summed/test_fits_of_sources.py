"""A fit of a source is the in-memory fit of its rows, draw by draw, whatever the source and however it is cut."""

import contextlib
from functools import lru_cache

import dask
import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import bayesmixed as bm
from bayesmixed.chunks import allow
from helpers.strategies import parts
from helpers.summed_cases import CASES, FAST, fit_rows, largest_difference, make_frame

FRAME = make_frame()
CONNECTION = duckdb.connect()  # relations of old versions do not keep theirs
NOTHING_TO_KNOW = "y ~ x + (x | pupil)"
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


@pytest.fixture(autouse=True)
def small_chunks():
    """Chunks of 50 rows of few columns."""
    with allow(chunk=8 * 50):
        yield


@pytest.fixture
def folder(tmp_path):
    for name, rows in {"1.parquet": FRAME[:70], "2.parquet": FRAME[70:]}.items():
        rows.to_parquet(tmp_path / name)
    return tmp_path


AGAIN = {
    "a folder": str,
    "paths": lambda folder: [folder / "1.parquet", f"{folder}/2.parquet"],
    "a dataset": ds.dataset,
    "a dataset with a filter": lambda folder: ds.dataset(folder).filter(ds.field("w") > 0),
    "DuckDB": lambda folder: CONNECTION.sql(f"select * from '{folder}/*.parquet'"),
    "a LazyFrame": lambda folder: pl.scan_parquet(folder / "*.parquet"),
    "frames": lambda folder: [FRAME[:50], FRAME[50:50], FRAME[50:]],
    "frames of polars": lambda folder: [pl.from_pandas(FRAME[:50]), pl.from_pandas(FRAME[50:])],
    "a callable": lambda folder: lambda: (FRAME[at : at + 40] for at in range(0, 120, 40)),
    "a callable of batches": lambda folder: ds.dataset(folder).to_batches,
    "Dask": lambda folder: dd.from_pandas(FRAME, npartitions=3),
    "Parquet in Dask": dd.read_parquet,
}
ONCE = {
    "a generator": lambda folder: (FRAME[at : at + 40] for at in range(0, 120, 40)),
    "a reader": lambda folder: ds.dataset(folder).scanner().to_reader(),
    "a stream": lambda folder: Stream(FRAME),
}


class Stream:
    """An object that has Arrow's C stream, and nothing else."""

    def __init__(self, frame):
        self._table = pa.table(frame)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def fit(formula, source, **options):
    weights = options.pop("sample_weight", None)
    return bm.MixedModelRegressor(formula, **FAST, **options).fit(source, sample_weight=weights)


def in_memory(formula, frame=None, **options):
    return fit(formula, frame, **options) if frame is not None else of_frame(formula)


@lru_cache
def of_frame(formula):
    return fit(formula, FRAME)


@pytest.mark.parametrize("kind", AGAIN)
@pytest.mark.parametrize("formula", [NOTHING_TO_KNOW, "y ~ scale(x)*k + (1 | pupil)"])
def test_a_source_that_can_be_read_again_is_the_frame(kind, formula, folder):
    est, known = fit(formula, AGAIN[kind](folder)), in_memory(formula)

    assert largest_difference(est, known) < 1e-8
    assert est.n_features_in_ == known.n_features_in_
    np.testing.assert_array_equal(est.feature_names_in_, known.feature_names_in_)
    assert repr(est.priors_)[:40] == repr(known.priors_)[:40]


@pytest.mark.parametrize("kind", ONCE)
def test_a_source_that_is_read_once_is_the_frame(kind, folder):
    est = fit(NOTHING_TO_KNOW, ONCE[kind](folder))
    declared = fit("y ~ x*k + (1 | pupil)", ONCE[kind](folder), categories={"k": ["a", "b", "c", "never"]})

    assert largest_difference(est, in_memory(NOTHING_TO_KNOW)) < 1e-8
    assert list(est.feature_names_in_) == list(FRAME.columns)
    assert largest_difference(declared, in_memory("y ~ x*k + (1 | pupil)")) < 1e-8


@pytest.mark.parametrize("name", sorted(set(CASES) - {"a spline"}))
def test_every_design_is_fitted_alike(name):
    formula, of, options = CASES[name]
    weights = of.get("sample_weight")
    source = [FRAME[:31], FRAME[31:90], FRAME[90:]]
    est = fit(formula, source, family=of.get("family", "gaussian"), sample_weight=weights, **options)

    assert largest_difference(est, fit_rows(formula, FRAME, of, options)) < 1e-8


@settings(max_examples=12)
@given(parts(120))
def test_sums_do_not_depend_on_how_rows_are_cut(rows):
    formula = "y ~ center(x)*k + (k | pupil)"
    found = bm.SufficientStatistics.of(formula, [FRAME.iloc[at] for at in rows])
    whole = bm.SufficientStatistics.of(formula, FRAME)

    assert (found.n_rows, found.checksum) == (whole.n_rows, whole.checksum)
    assert found.spec.common.names == whole.spec.common.names
    np.testing.assert_allclose(found.sums.common.covariance, whole.sums.common.covariance, rtol=1e-9, atol=1e-9)


# ---- what has to be known before columns can be built


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ scale(x) + center(log(z)) + (1 | pupil)",
        "y ~ standardize(x + z):k + x:k + (1 | pupil)",
        "y ~ x + (scale(x) | pupil)",
        "y ~ C(town) + C(k, Treatment('b')) + (1 | item)",
        "y ~ late*x + (late | item)",
        "y ~ 0 + k + C(school, Sum) + (1 | item)",
    ],
)
def test_levels_and_moments_are_those_of_all_rows(formula):
    frame = FRAME.assign(late=FRAME["year"] > 2013).sort_values(["k", "town", "late"], ignore_index=True)
    source = [frame[at : at + 10] for at in range(0, 120, 10)]

    assert largest_difference(fit(formula, source), in_memory(formula, frame)) < 1e-8


@pytest.mark.parametrize("formula", ["y ~ x*scale(year) + (1 | pupil)", "y ~ x + (scale(year) | pupil)"])
def test_a_column_that_is_scaled_may_be_constant_in_a_chunk(formula):
    frame = FRAME.sort_values("year", ignore_index=True)
    by_year = [rows for _, rows in frame.groupby("year")]

    assert largest_difference(fit(formula, by_year), in_memory(formula, frame)) < 1e-8


@pytest.mark.parametrize("weights", [[0.0, 1.0, 3.0], [0.0, 0.5, 1.7]])
def test_rows_of_weight_zero_teach_nothing_and_others_as_often_as_they_count(weights):
    frame = FRAME.assign(w=np.resize(weights, 120))
    frame.loc[frame["w"] == 0, ["x", "k"]] = [1e9, "no level"]
    formula = "y ~ scale(x) + k + (1 | pupil)"

    est = fit(formula, [frame[:40], frame[40:]], sample_weight="w")
    assert largest_difference(est, in_memory(formula, frame, sample_weight="w")) < 1e-8


def test_levels_are_known_from_the_types_of_columns(folder):
    levels = ["c", "a", "b"]
    formula = "y ~ k + (1 | pupil)"
    ordered = FRAME.assign(k=pd.Categorical(FRAME["k"], categories=levels))
    enum = pl.from_pandas(FRAME).with_columns(pl.col("k").cast(pl.Enum(levels)))
    sorted_rows = ordered.sort_values("k", ignore_index=True)
    once = (sorted_rows[at : at + 30] for at in range(0, 120, 30))

    assert largest_difference(fit(formula, once), in_memory(formula, sorted_rows)) < 1e-8
    assert largest_difference(fit(formula, enum.lazy()), in_memory(formula, enum)) < 1e-8
    assert in_memory(formula, enum).design_spec_.common_names == ("k[a]", "k[b]")
    assert largest_difference(fit(formula, dd.from_pandas(ordered, npartitions=3)), in_memory(formula, ordered)) < 1e-8


def test_levels_of_columns_that_no_formula_uses_may_be_stated(folder):
    levels = {"k": ["a", "b", "c"]}
    for make in (*AGAIN.values(), *ONCE.values()):
        assert (
            largest_difference(fit(NOTHING_TO_KNOW, make(folder), categories=levels), of_frame(NOTHING_TO_KNOW)) < 1e-8
        )
        with pytest.raises(bm.FormulaError, match="categories names 'nope', which is not a column of X"):
            fit(NOTHING_TO_KNOW, make(folder), categories={"nope": [1, 2]})


def test_a_dataset_has_the_types_that_were_stated(tmp_path):
    formula = "y ~ x + (1 | item)"
    frame = FRAME.assign(item=FRAME["item"].map("0{}".format).where(FRAME["town"] == 0, FRAME["item"].astype(str)))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    columns = {"y": pa.float64(), "x": pa.float64(), "item": pa.string()}
    stated = pa.schema([(name, columns.get(name, pa.string())) for name in frame])
    dataset = ds.dataset(tmp_path / "rows.csv", schema=stated, format="csv")  # "01" is not "1"
    known = in_memory(formula, frame)

    assert len(known.design_spec_.groups[0].levels) > FRAME["item"].nunique()
    assert largest_difference(fit(formula, dataset), known) < 1e-8
    assert largest_difference(fit(formula, dataset.filter(ds.field("w") != "0")), known) < 1e-8


def test_a_dictionary_of_arrow_is_text_even_where_batches_have_their_own(tmp_path):
    formula = "y ~ k + (1 | pupil)"
    for at, rows in enumerate((FRAME[FRAME["k"] != "a"], FRAME[FRAME["k"] == "a"])):
        table = pa.table(rows)
        for name in ("k", "pupil"):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].dictionary_encode())
        pq.write_table(table, tmp_path / f"{at}.parquet")
    whole = pa.concat_tables([pq.read_table(tmp_path / f"{at}.parquet") for at in range(2)])

    assert pa.types.is_dictionary(whole.schema.field("k").type)
    assert largest_difference(fit(formula, tmp_path), in_memory(formula, whole)) < 1e-8


def test_categories_that_dask_does_not_know_are_found_by_a_first_pass():
    frame = dd.from_pandas(FRAME.sort_values("k", ignore_index=True), npartitions=4)
    frame = frame.assign(k=frame["k"].astype("category"), pupil=frame["pupil"].astype("category"))
    formula = "y ~ k + (1 | pupil)"

    assert not frame["k"].cat.known
    assert largest_difference(fit(formula, frame), in_memory(formula)) < 1e-8


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_sums_of_partitions_are_the_same_bits_by_every_scheduler(scheduler):
    formula = "y ~ x*k + (1 | pupil)"
    source = dd.from_pandas(FRAME, npartitions=12)
    with dask.config.set(scheduler=scheduler):
        one, other = (bm.SufficientStatistics.of(formula, source) for _ in range(2))
    known = bm.SufficientStatistics.of(formula, FRAME)

    np.testing.assert_array_equal(one.sums.products.VV, other.sums.products.VV)
    np.testing.assert_array_equal(one.sums.products.T[0], other.sums.products.T[0])
    assert one.checksum == known.checksum
    np.testing.assert_allclose(one.sums.common.covariance, known.sums.common.covariance, rtol=1e-9, atol=1e-9)


# ---- what comes after


def test_a_fit_of_a_source_goes_on_as_one_of_sums():
    est = fit(NOTHING_TO_KNOW, [FRAME[:60], FRAME[60:90]]).partial_fit(FRAME[90:])

    assert largest_difference(est, in_memory(NOTHING_TO_KNOW)) < 1e-8
    np.testing.assert_allclose(est.predict(FRAME), in_memory(NOTHING_TO_KNOW).predict(FRAME), rtol=1e-8)
    assert est._rows.checksum == in_memory(NOTHING_TO_KNOW)._rows.checksum


def test_statistics_take_the_same_sources(folder):
    whole = bm.SufficientStatistics.of(NOTHING_TO_KNOW, FRAME, sample_weight="w")
    for make in (*AGAIN.values(), *ONCE.values()):
        found = bm.SufficientStatistics.of(NOTHING_TO_KNOW, make(folder), sample_weight="w")
        assert (found.n_rows, found.checksum) == (120, whole.checksum)


@pytest.mark.parametrize("kind", [*ONCE, "Dask"])
def test_what_other_rows_have_taught_needs_no_first_pass(kind, folder):
    formula = "y ~ scale(x)*k + bs(z, df=5) + (1 | pupil)"
    whole = bm.SufficientStatistics.of(formula, FRAME)
    found = bm.SufficientStatistics.of(formula, (ONCE | AGAIN)[kind](folder), like=whole)

    assert found.checksum == whole.checksum
    assert (whole + found).n_rows == 240


def test_only_columns_that_are_used_are_read():
    rows = pl.from_pandas(FRAME).lazy()
    broken = rows.with_columns(z=pl.col("z").map_batches(lambda _: 1 / 0, return_dtype=pl.Float64))
    assert fit(NOTHING_TO_KNOW, broken).n_features_in_ == FRAME.shape[1]
    odd = [FRAME.assign(z=object()), FRAME.assign(z=None)]
    assert fit(NOTHING_TO_KNOW, odd)._rows.n_rows == 240


def test_a_bar_counts_rows_and_their_number_where_it_is_known(folder, monkeypatch):
    from bayesmixed.estimators.summed import sources

    shown = []

    class Progress(contextlib.nullcontext):
        def __init__(self, wanted, text, unit, total=None):
            super().__init__(self)
            self.told = (wanted, text, unit, total)

        def advance(self, n):
            shown.append((*self.told, n))

    monkeypatch.setattr(sources, "Progress", Progress)
    formula = "y ~ k + (1 | pupil)"
    bm.SufficientStatistics.of(formula, folder, progressbar=True)
    assert shown[0] == (True, "First pass", "rows", 120, 50)
    assert sum(n for *_, n in shown) == 240
    shown.clear()
    fit(NOTHING_TO_KNOW, [FRAME[:60], FRAME[60:]])
    assert shown == [(False, "Summing", "rows", None, 60)] * 2
    shown.clear()
    bm.SufficientStatistics.of(NOTHING_TO_KNOW, dd.from_pandas(FRAME, npartitions=3), progressbar=True)
    assert sum(n for *_, n in shown) == 3
    assert shown[0][:4] == (True, "Summing", "partitions", 3)
