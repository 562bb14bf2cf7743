"""What may go wrong with a source: it is said where, with the cure, and nothing is half learned."""

import subprocess
import sys

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import bayesmixed as bm
from bayesmixed import FormulaError, SufficientStatistics
from bayesmixed.chunks import allow
from bayesmixed.design.sources import arrow
from helpers.summed_cases import FAST, largest_difference, make_frame

FRAME = make_frame()
FORMULA = "y ~ x + k + (x | pupil)"
PLAIN = "y ~ x + (x | pupil)"
HALVES = [FRAME[:50], FRAME[50:]]
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


def of(source, formula=PLAIN, **options):
    return SufficientStatistics.of(formula, source, **options)


def estimator(formula=PLAIN, **options):
    return bm.MixedModelRegressor(formula, **FAST, **options)


def changed(at, **values):
    """The second half with other values in one row; `at` is its number within all rows."""
    second = FRAME[50:].copy()
    for name, value in values.items():
        second[name] = second[name].astype(object) if isinstance(value, str) else second[name]
        second.loc[at, name] = value
    return [FRAME[:50], second]


# ---- a chunk that is not like the others


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (changed(67, x=np.nan), ValueError, r"^row 67 of the source, in chunk 1: column 'x' has 1 missing values"),
        (changed(119, x=np.inf), ValueError, r"^row 119 of the source, in chunk 1: column 'x' has 1 infinite values"),
        (changed(50, y=np.nan), ValueError, r"^row 50 of the source, in chunk 1: Input y contains NaN"),
        (changed(70, pupil=None), ValueError, r"^row 70 of the source, in chunk 1: .*'pupil' has 1 missing labels"),
        (changed(70, x="many"), FormulaError, r"^row 70 of the source, in chunk 1: 'x' was a number in fit"),
        (
            [FRAME[:50], FRAME[50:].drop(columns="x")],
            FormulaError,
            r"^chunk 1: formula .* uses 'x', which is not a col",
        ),
        ([FRAME[:50], FRAME[50:].assign(x="1")], FormulaError, r"^chunk 1: 'x' was a number in fit but is text now"),
        ([FRAME[:50], FRAME[50:].assign(y="1")], ValueError, r"^chunk 1: y must be numeric"),
        ([FRAME[:50], FRAME[50:].assign(pupil=7)], FormulaError, r"^chunk 1: column 'pupil' holds str labels in one"),
        ([*HALVES, 3], TypeError, "^part 2 of source must be a DataFrame, got a int"),
    ],
)
def test_a_chunk_that_is_not_like_the_others_is_named_with_its_row(source, error, message):
    for take in (of, estimator().fit):
        with pytest.raises(error, match=message):
            take(source)


def test_a_column_of_text_that_becomes_a_number_is_named():
    for source in ([FRAME[:50], FRAME[50:].assign(k=1)], [FRAME[:50].assign(k=1.5).astype({"k": object}), FRAME[50:]]):
        with pytest.raises(
            FormulaError, match=r"^chunk 1: .*'k' (is text in one part and none|was a number in fit but)"
        ):
            of(source, FORMULA)


def test_a_response_that_the_family_cannot_have_is_named_with_its_row():
    with pytest.raises(ValueError, match=r"^row 103 of the source, in chunk 1: family='lognormal' needs positive"):
        of(changed(103, wait=-1.0), "wait ~ x + (1 | pupil)", family="lognormal")


def test_a_row_of_weight_zero_is_not_the_wrong_one():
    source = changed(80, x=np.nan)
    source[1] = source[1].assign(w=source[1]["w"].where(source[1].index != 60, 0.0))
    source[1].loc[60, "x"] = np.nan

    with pytest.raises(ValueError, match=r"^row 80 of the source"):
        of(source, sample_weight="w")
    with pytest.raises(ValueError, match=r"^row 55 of the source, in chunk 1: Input sample_weight contains NaN"):
        of(changed(55, w=np.nan), sample_weight="w")
    with pytest.raises(ValueError, match=r"^row 55 of the source, in chunk 1: Input sample_weight contains infinity"):
        of(changed(55, w=np.inf), "y ~ scale(x) + k + (1 | pupil)", sample_weight="w")


def test_the_first_pass_names_rows_too():
    with pytest.raises(ValueError, match=r"^row 67 of the source, in chunk 1: column 'k' has 1 missing values"):
        of(changed(67, k=None), FORMULA)
    with pytest.raises(FormulaError, match=r"^chunk 1: 'log\(x\)' is NaN or infinite in \d+ of 70 rows"):
        of([FRAME[:50].assign(x=1.0), FRAME[50:]], "y ~ scale(log(x)) + (1 | pupil)")


def test_files_are_named(tmp_path):
    for at, rows in enumerate(changed(67, x=np.nan)):
        rows.to_parquet(tmp_path / f"{at}.parquet")
    with pytest.raises(ValueError, match=r"^row 67 of the source, in chunk 0 \('.*1\.parquet'\): column 'x' has 1 mis"):
        of(tmp_path)
    FRAME.drop(columns="x").to_parquet(tmp_path / "1.parquet")
    with pytest.raises(FormulaError, match=r"1\.parquet has no column 'x' \(columns: 'z', 'year'"):
        of(tmp_path)
    FRAME.assign(x=FRAME["x"].astype(str)).to_parquet(tmp_path / "1.parquet")
    with pytest.raises(FormulaError, match=r"^chunk 1 \('.*1\.parquet'\): 'x' was a number in fit but is text now"):
        of(tmp_path)


def test_partitions_are_named():
    frame = dd.from_pandas(pd.concat(changed(67, x=np.nan)), npartitions=3)

    with pytest.raises(ValueError, match=r"^row 27 of partition 1: column 'x' has 1 missing values"):
        of(frame)


# ---- a stream that breaks off


def broken():
    yield FRAME[:50]
    raise ConnectionError("the line is dead")


def test_a_stream_that_raises_leaves_the_estimator_as_it_was():
    est, known = estimator().fit(FRAME), estimator().fit(FRAME)

    for source in (broken(), broken, changed(67, x=np.nan)):
        with pytest.raises((ConnectionError, ValueError)):
            est.fit(source)
        assert largest_difference(est, known) == 0
    new = estimator()
    with pytest.raises(ConnectionError, match="the line is dead"):
        new.fit(broken())
    assert not [name for name in vars(new) if name.endswith("_")]


def test_fewer_rows_than_the_metadata_say_are_refused(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "rows.parquet")

    class Short:
        """A file that gives all rows but the last batch."""

        def __init__(self, fragment):
            self._fragment = fragment

        def __getattr__(self, name):
            return getattr(self._fragment, name)

        def to_batches(self, **options):
            return list(self._fragment.to_batches(**options))[:-1]

    whole = arrow.Dataset._fragments.func
    found = property(lambda self: [Short(fragment) for fragment in whole(self)])
    monkeypatch.setattr(arrow.Dataset, "_fragments", found)
    est = estimator()
    with (
        allow(chunk=8 * 50),
        pytest.raises(ValueError, match=r"rows\.parquet has delivered 100 rows, and its metadata"),
    ):
        est.fit(ds.dataset(tmp_path / "rows.parquet"))
    assert not hasattr(est, "coef_")


@pytest.mark.parametrize("formula", [PLAIN, FORMULA])
def test_no_rows_are_refused(formula, tmp_path):
    FRAME.head(0).to_parquet(tmp_path / "rows.parquet")
    nothing = FRAME.assign(w=0.0)

    for source in ([], iter([]), [FRAME.head(0)], lambda: [], tmp_path, dd.from_pandas(FRAME.head(0), npartitions=1)):
        with pytest.raises(ValueError, match="the source has no rows of positive weight"):
            of(source, formula)
    for source in ([nothing], dd.from_pandas(nothing, npartitions=2), pl.from_pandas(nothing).lazy()):
        with pytest.raises(ValueError, match="the source has no rows of positive weight"):
            of(source, formula, sample_weight="w")


# ---- two passes


def again(*passes):
    """A callable whose rows differ from call to call; the last stays."""
    left = list(passes)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (HALVES[:1], "120 rows, then 50"),
        ([FRAME.assign(k=FRAME["k"].replace("a", "b").where(FRAME.index > 2, "a"))], "rows of other levels of 'k'"),
        ([], "120 rows, then 0"),
    ],
)
def test_a_second_pass_that_differs_is_refused(second, message):
    with pytest.raises(ValueError, match=f"has given other rows when it was read again: {message}.*a new iterator"):
        of(again(HALVES, HALVES, second), FORMULA)


def test_a_second_pass_of_other_moments_is_refused():
    other = [FRAME.assign(x=FRAME["x"] + 1e-6)]
    with pytest.raises(ValueError, match=r"'x' with mean .*, then "):
        of(again(HALVES, HALVES, other), "y ~ scale(x) + (1 | pupil)")


def test_a_callable_that_returns_one_generator_for_ever_is_refused_where_rows_are_read_again():
    rows = iter(HALVES)
    with pytest.raises(ValueError, match="A callable has to return a new iterator"):
        of(lambda: rows, FORMULA)
    rows = iter([FRAME])
    with pytest.raises(ValueError, match="other rows when it was read again: some rows, then none"):
        of(lambda: rows, FORMULA)
    rows = iter(HALVES)

    assert of(lambda: rows).n_rows == 120  # nothing has to be known before


def test_a_stream_that_was_read_before_is_refused_with_the_cure():
    reader = pa.table(FRAME).to_reader()
    est = estimator().fit(reader)

    with pytest.raises(ValueError, match=r"no rows of positive weight\. It is read once: make it anew"):
        est.fit(reader)
    assert est.predict(FRAME).shape == (120,)


@pytest.mark.parametrize("make", [lambda: iter(HALVES), lambda: pa.table(FRAME).to_reader()], ids=["frames", "batches"])
def test_a_source_that_is_read_once_is_refused_with_the_cure_where_two_passes_are_needed(make):
    with pytest.raises(
        FormulaError, match=r"the levels of 'k' have .*State them, categories={'k': \[\.\.\.\]}.*callable"
    ):
        of(make(), FORMULA)
    with pytest.raises(FormulaError, match=r"mean and standard deviation of 'x' have to be known before"):
        of(make(), "y ~ scale(x) + (1 | pupil)")
    with pytest.raises(FormulaError, match=r"the levels of 'town' have to be known"):
        estimator("y ~ C(town) + (1 | pupil)").fit(make())
    with pytest.raises(FormulaError, match=r"'bs\(z, df=5\)' would learn from the first rows .*knots=\[2, 5\]"):
        estimator("y ~ bs(z, df=5) + (1 | pupil)").fit(make())


@pytest.mark.parametrize("call", ["bs(z, df=5)", "poly(z, 2)", "scale(center(z))"])
def test_what_a_first_pass_does_not_find_is_refused_for_every_source(call):
    with pytest.raises(FormulaError, match="would learn from the first rows of the source"):
        of(HALVES, f"y ~ {call} + (1 | pupil)")


# ---- what sums will not do for


def never():
    raise AssertionError("rows were read")
    yield


@pytest.mark.parametrize(
    ("est", "given", "error", "message"),
    [
        (estimator(sampler="nuts"), {}, bm.SamplerError, "sampler='nuts' needs the rows themselves"),
        (
            estimator(family="t"),
            {},
            ValueError,
            "is for families 'gaussian', 'lognormal', .*'t' needs all rows at once",
        ),
        (estimator(trials="w"), {}, ValueError, "the trials 'w' are for family='binomial'"),
        (estimator(), {"y": FRAME["y"]}, ValueError, "the response has to be one of their columns"),
        (estimator(), {"sample_weight": FRAME["w"]}, ValueError, "has to be the name of a column that holds it"),
        (estimator("x + (1 | pupil)"), {}, FormulaError, "need a formula that names the response"),
        (bm.MixedModelClassifier(PLAIN), {}, ValueError, "'bernoulli' needs all rows at once"),
    ],
)
def test_what_needs_rows_in_memory_is_refused_before_any_is_read(est, given, error, message):
    with pytest.raises(error, match=message):
        est.fit(never, **given)


def test_a_prior_that_does_not_integrate_out_is_refused_before_rows_are_summed():
    read = []
    source = lambda: (read.append(1) or frame for frame in HALVES)  # noqa: E731

    with pytest.raises(bm.SamplerError, match=r"only Normal priors .* not 'x': StudentT"):
        estimator(priors={"x": bm.StudentT(3, 0, 1)}).fit(source)
    assert len(read) == 1
    with pytest.raises(bm.PriorError, match="unknown prior 'nobody'"):
        estimator(priors={"nobody": bm.Normal(0, 1)}).fit(HALVES)


def test_columns_that_are_not_there_are_told_before_any_row_is_read(tmp_path):
    FRAME.to_parquet(tmp_path / "rows.parquet")

    for source in (tmp_path, pl.from_pandas(FRAME).lazy(), dd.from_pandas(FRAME, npartitions=2)):
        with pytest.raises(FormulaError, match=r"uses 'nope', which is not a column of X \(columns: 'x', 'z'"):
            of(source, "y ~ nope + (1 | pupil)")
        with pytest.raises(FormulaError, match=r"sample_weight names 'nope', which is not a column of the source"):
            of(source, sample_weight="nope")
    with pytest.raises(FormulaError, match="formula needs named columns, but X is a list"):
        estimator().fit([[1.0, 2.0]])
    with pytest.raises(FormulaError, match="need a formula that names the response"):
        bm.MixedModelRegressor().fit(tmp_path)


def test_without_pyarrow_the_cure_is_named():
    code = """
import sys
sys.modules["pyarrow"] = None
import bayesmixed as bm
try:
    bm.SufficientStatistics.of("y ~ x", "rows.parquet")
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert 'pip install "bayesmixed[parquet]"' in run.stdout, run.stderr


def test_no_library_is_imported_that_no_rows_are_of():
    code = """
import sys
import bayesmixed as bm
df = bm.datasets.load_sleepstudy()
bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit([df[:90], df[90:]])
print({"duckdb", "polars", "dask", "distributed"} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "set()"
