"""Frames and columns of all kinds: the same model, whatever library or dtype holds the data."""

import datetime
from decimal import Decimal

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayesmixed import FormulaError, MixedModelRegressor
from bayesmixed.datasets import load_sleepstudy

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # so few draws

ROWS = np.arange(180)
DATA = load_sleepstudy().assign(k=np.array(["low", "mid", "top"])[ROWS % 3], flag=ROWS % 2 == 0)
Y = DATA["Reaction"]
FORMULA = "Reaction ~ Days + k + flag + (Days | Subject)"
TEXT = pa.string()
CODED = pd.ArrowDtype(pa.dictionary(pa.int32(), TEXT))

FRAMES = {
    "object": lambda: DATA.astype({"k": object, "flag": object}),
    "string": lambda: DATA.astype({"k": "string"}),
    "string of Python": lambda: DATA.astype({"k": "string[python]"}),
    "category": lambda: DATA.astype({"k": "category", "Subject": "category"}),
    "nullable": DATA.convert_dtypes,
    "Arrow": lambda: DATA.convert_dtypes(dtype_backend="pyarrow"),
    "Arrow, coded text": lambda: DATA.astype({"k": CODED}),
    "Arrow, decimals": lambda: DATA.astype({"Days": pd.ArrowDtype(pa.decimal128(25, 2))}),
    "polars": lambda: pl.from_pandas(DATA),
    "polars, categories": lambda: pl.from_pandas(DATA).with_columns(pl.col("k").cast(pl.Categorical)),
    "polars, an order": lambda: pl.from_pandas(DATA).with_columns(pl.col("k").cast(pl.Enum(["low", "mid", "top"]))),
    "polars, decimals": lambda: pl.from_pandas(DATA).with_columns(pl.col("Days").cast(pl.Decimal(10, 2))),
    "an Arrow table": lambda: pa.Table.from_pandas(DATA),
    "an Arrow table, coded text": lambda: pa.Table.from_pandas(DATA.astype({"k": CODED})),
    "narwhals about pandas": lambda: nw.from_native(DATA),
    "narwhals": lambda: nw.from_native(pl.from_pandas(DATA)),
}


def fit(frame, y=None, formula=FORMULA, **options):
    return MixedModelRegressor(formula, draws=100, random_state=0, **options).fit(frame, y)


@pytest.fixture(scope="module")
def plain():
    """The fit to pandas' numbers and text, which every other has to equal."""
    return fit(DATA)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_of_any_kind_gives_the_same_model_and_predictions(kind, plain):
    frame = FRAMES[kind]()
    est = fit(frame)

    assert est.design_spec_.common_names == ("Days", "k[mid]", "k[top]", "flag")
    np.testing.assert_array_equal(est.predict(frame), plain.predict(DATA))
    np.testing.assert_array_equal(plain.predict(frame, return_std=True), plain.predict(DATA, return_std=True))
    np.testing.assert_array_equal(est.design_spec_.groups[0].levels, plain.design_spec_.groups[0].levels)
    np.testing.assert_array_equal(est.feature_names_in_, plain.feature_names_in_)
    assert est.score(frame) == plain.score(DATA)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # so few draws
@pytest.mark.parametrize("kind", ["nullable", "Arrow", "polars", "an Arrow table"])
def test_every_method_takes_a_frame_of_any_kind(kind, plain):
    frame = FRAMES[kind]()

    np.testing.assert_array_equal(plain.predict_interval(frame), plain.predict_interval(DATA))
    np.testing.assert_array_equal(plain.predict_draws(frame, n_draws=8), plain.predict_draws(DATA, n_draws=8))
    np.testing.assert_array_equal(plain.bayes_r2(frame), plain.bayes_r2(DATA))
    np.testing.assert_array_equal(plain.condition(frame).predict(frame), plain.condition(DATA).predict(DATA))
    np.testing.assert_array_equal(plain.loo(frame).log_likelihood, plain.loo(DATA).log_likelihood)
    found = plain.sample_posterior_predictive(frame)
    np.testing.assert_array_equal(found["observed_data"]["y"], Y)


def test_rows_of_a_frame_without_index_are_numbered(plain):
    frame = pl.from_pandas(DATA).tail(3)

    np.testing.assert_array_equal(plain.predict_draws(frame, n_draws=4)["obs"], [0, 1, 2])
    np.testing.assert_array_equal(fit(pl.from_pandas(DATA)).idata_["observed_data"]["y"]["obs"], ROWS)


@pytest.mark.parametrize("order", [["top", "mid", "low"], ["mid", "top", "low"]])
def test_an_order_of_categories_is_kept(order):
    polars = pl.from_pandas(DATA).with_columns(pl.col("k").cast(pl.Enum(order)))
    pandas = DATA.assign(k=pd.Categorical(DATA["k"], categories=order, ordered=True))
    names = ("Days", f"k[{order[1]}]", f"k[{order[2]}]", "flag")

    assert fit(polars).design_spec_.common_names == fit(pandas).design_spec_.common_names == names
    levels = fit(polars, formula="Reaction ~ Days + (1 | k)").design_spec_.groups[0].levels
    assert levels.tolist() == order


LABELS = {
    "text": ("str", lambda c: c),
    "Arrow's coded text": ("str", lambda c: c.astype(CODED)),
    "large text": ("str", lambda c: c.astype(pd.ArrowDtype(pa.large_string()))),
    "numbers": ("int64", lambda c: c.astype("int64[pyarrow]")),
    "instants": ("datetime64[ns]", lambda c: pd.to_datetime(c.astype(int), unit="D").astype("timestamp[ns][pyarrow]")),
    "truth": ("bool", lambda c: (c > "340").astype("bool[pyarrow]")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_levels_keep_the_type_of_their_labels(kind):
    dtype, convert = LABELS[kind]
    frame = DATA.assign(g=convert(DATA["Subject"].astype(str)))
    others = {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.Table.from_pandas(frame)}
    found = {name: fit(other, formula="Reaction ~ Days + (1 | g)") for name, other in others.items()}

    for est in found.values():
        levels = est.design_spec_.groups[0].levels
        assert levels.dtype == dtype or levels.dtype.kind == "U" == np.dtype(dtype).kind
        for other in others.values():
            np.testing.assert_array_equal(est.predict(other), found["pandas"].predict(frame))


DATES = [datetime.date(2020 + i % 5, 1, 1) for i in ROWS]
SAME_LABELS = {
    "dates": {
        "objects": lambda: DATA.assign(g=pd.Series(DATES, dtype=object)),
        "Arrow's": lambda: DATA.assign(g=pd.Series(DATES, dtype=pd.ArrowDtype(pa.date32()))),
        "instants": lambda: DATA.assign(g=pd.to_datetime(pd.Series(DATES))),
        "polars'": lambda: pl.from_pandas(DATA).with_columns(g=pl.Series(DATES)),
    },
    "numbers": {
        "whole": lambda: DATA.assign(g=DATA["Subject"]),
        "floats": lambda: DATA.assign(g=DATA["Subject"] + 0.0),
        "decimals": lambda: DATA.assign(g=[Decimal(n) for n in DATA["Subject"].tolist()]),
        "Arrow's decimals": lambda: DATA.assign(g=DATA["Subject"].astype(pd.ArrowDtype(pa.decimal128(25, 2)))),
        "polars' decimals": lambda: pl.from_pandas(DATA).with_columns(g=pl.col("Subject").cast(pl.Decimal(10, 2))),
    },
}


@pytest.mark.parametrize("labels", SAME_LABELS)
def test_labels_of_fit_are_known_again_whatever_holds_them(labels):
    frames = {name: make() for name, make in SAME_LABELS[labels].items()}
    fits = [fit(frame, formula="Reaction ~ Days + (1 | g)", new_groups="error") for frame in frames.values()]

    expected = fits[0].predict(next(iter(frames.values())))
    for est in fits:
        for frame in frames.values():
            np.testing.assert_array_equal(est.predict(frame), expected)


def test_decimals_are_numbers_in_a_response_and_without_a_formula():
    frame = pl.from_pandas(DATA).with_columns(pl.col("Days", "Reaction").cast(pl.Decimal(20, 4)))
    expected = fit(DATA[["Days"]], Y, None).predict(DATA[["Days"]])

    np.testing.assert_allclose(fit(frame).predict(frame), fit(DATA).predict(DATA), rtol=1e-12)
    np.testing.assert_allclose(
        fit(frame.select("Days"), frame["Reaction"], None).predict(frame.select("Days")), expected
    )
    arrow = DATA[["Days"]].astype(pd.ArrowDtype(pa.decimal128(25, 2)))
    np.testing.assert_array_equal(fit(arrow, Y, None).predict(arrow), expected)


def test_narwhals_about_pandas_keeps_index_and_order(plain):
    frame = DATA.assign(k=pd.Categorical(DATA["k"], ["top", "mid", "low"])).set_axis(ROWS + 100)
    wrapped = nw.from_native(frame)

    assert fit(wrapped).design_spec_.common_names == ("Days", "k[mid]", "k[low]", "flag")
    np.testing.assert_array_equal(plain.predict_draws(wrapped, n_draws=4)["obs"], ROWS + 100)


def test_instants_of_a_zone_are_one_level_whatever_the_library():
    when = pd.to_datetime(DATA["Subject"], unit="D").dt.tz_localize("UTC").dt.tz_convert("Europe/Vienna")
    pandas = DATA.assign(g=when)
    polars = pl.from_pandas(pandas)
    est = fit(pandas, formula="Reaction ~ Days + (1 | g)", new_groups="error")

    np.testing.assert_array_equal(est.predict(polars), est.predict(pandas))


@pytest.mark.parametrize("kind", ["nullable", "Arrow", "polars", "an Arrow table", "coded text"])
@pytest.mark.parametrize("column", ["Days", "k", "flag", "Subject"])
def test_missing_values_are_found_whatever_marks_them(kind, column, plain):
    frame = DATA.convert_dtypes(dtype_backend="numpy_nullable" if kind == "nullable" else "pyarrow")
    frame.loc[ROWS < 2, column] = pd.NA
    if kind == "coded text" and column == "k":
        frame["k"] = frame["k"].astype(CODED)
    if kind == "polars":
        frame = pl.from_pandas(frame)
    elif kind in ("an Arrow table", "coded text"):
        frame = pa.Table.from_pandas(frame)

    with pytest.raises(ValueError, match=f"column '{column}' has 2 missing"):
        fit(frame)
    if column == "Subject":  # a new group of its own
        new = plain.predict(DATA.assign(Subject=999))[:2]
        np.testing.assert_allclose(plain.predict(frame)[:2], new)
        np.testing.assert_array_equal(plain.predict(frame)[2:], plain.predict(DATA)[2:])
    else:
        with pytest.raises(ValueError, match=f"column '{column}' has 2 missing"):
            plain.predict(frame)


def test_long_labels_beside_a_missing_one_are_told_apart():
    """As floats, 2^60 + 308 and 2^60 + 309 are one number."""
    frame = pl.from_pandas(DATA).with_columns(g=pl.col("Subject") + 2**60)
    est = fit(frame, formula="Reaction ~ Days + (1 | g)")
    gaps = frame.with_columns(g=pl.when(pl.arange(0, 180) < 2).then(None).otherwise(pl.col("g")))

    assert len(est.design_spec_.groups[0].levels) == 18
    np.testing.assert_array_equal(est.predict(gaps)[2:], est.predict(frame)[2:])


def test_columns_that_the_formula_does_not_use_may_hold_anything(plain):
    odd = pl.from_pandas(DATA).with_columns(
        pl.lit(1).repeat_by(2).alias("pair"),
        pl.struct("Days", "k").alias("both"),
        pl.lit(None).alias("nothing"),
        pl.col("Days").cast(pl.Int128).alias("wide"),  # which NumPy does not have
    )

    np.testing.assert_array_equal(plain.predict(odd), plain.predict(DATA))


def test_a_lazy_frame_is_refused_where_its_rows_are_needed_at_once(plain):
    with pytest.raises(TypeError, match=r"needs rows in memory, got a LazyFrame: .* X.collect\(\)"):
        plain.predict_draws(pl.from_pandas(DATA).lazy())


def test_text_that_was_a_number_in_fit_is_still_refused(plain):
    with pytest.raises(FormulaError, match="'Days' was a number in fit but is text now"):
        plain.predict(pl.from_pandas(DATA).with_columns(pl.col("Days").cast(pl.String)))


def test_a_date_is_no_number():
    frame = pl.from_pandas(DATA).with_columns(when=pl.lit(datetime.date(2020, 1, 1)))

    with pytest.raises(FormulaError, match=r"column 'when' has dtype datetime64.* convert it first"):
        fit(frame, formula="Reaction ~ when + (1 | Subject)")


# ---- without a formula

PLAIN = DATA[["Days", "flag"]].assign(z=np.sin(ROWS))
NUMBERS = {
    "nullable": PLAIN.convert_dtypes,
    "Arrow": lambda: PLAIN.convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda: pl.from_pandas(PLAIN),
    "an Arrow table": lambda: pa.Table.from_pandas(PLAIN),
}
RESPONSES = {
    "pandas, other index": lambda: Y.set_axis(ROWS[::-1]),
    "nullable": Y.convert_dtypes,
    "Arrow": lambda: Y.convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda: pl.Series("Reaction", Y),
    "Arrow's array": lambda: pa.array(Y),
    "narwhals": lambda: nw.from_native(pl.Series("Reaction", Y), series_only=True),
    "a list": Y.tolist,
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("response", RESPONSES)
def test_all_columns_of_any_kind_and_a_response_by_position(kind, response):
    frame, y = NUMBERS[kind](), RESPONSES[response]()
    weights = y if response == "polars" else Y
    expected, est = fit(PLAIN, Y, None), fit(frame, y, None)

    np.testing.assert_array_equal(est.predict(frame), expected.predict(PLAIN))
    np.testing.assert_array_equal(expected.predict(frame), expected.predict(PLAIN))
    assert est.feature_names_in_.tolist() == ["Days", "flag", "z"]
    assert est.score(frame, y, weights) == expected.score(PLAIN, Y, Y)


def test_text_without_a_formula_is_refused_whatever_the_library():
    for frame in (DATA, pl.from_pandas(DATA), pa.Table.from_pandas(DATA)):
        with pytest.raises(FormulaError, match="columns 'k' of X are not numeric; write a formula"):
            fit(frame, Y.to_numpy(), None)


@pytest.mark.parametrize("wrap", [pl.Series, lambda name, y: pl.DataFrame({name: y})])
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_a_column_that_bears_the_name_of_the_response_is_a_leak(wrap):
    with pytest.raises(FormulaError, match="X has a column 'Reaction', the name of y"):
        fit(pl.from_pandas(DATA[["Days", "Reaction"]]), wrap("Reaction", Y), None)


def test_a_response_with_gaps_is_refused():
    gaps = pl.Series("Reaction", Y).set(pl.Series(ROWS < 2), None)

    with pytest.raises(ValueError, match="y contains NaN or infinity in 2 of 180 rows"):
        fit(PLAIN, gaps, None)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_a_pipeline_may_hand_on_either_library(output):
    columns = ColumnTransformer(
        [("num", StandardScaler(), ["Days"])], remainder="passthrough", verbose_feature_names_out=False
    )
    X = DATA if output == "pandas" else pl.from_pandas(DATA)
    scaled = DATA.assign(Days=StandardScaler().fit_transform(DATA[["Days"]])[:, 0])
    pipe = make_pipeline(columns, MixedModelRegressor(FORMULA, draws=100, random_state=0)).set_output(transform=output)

    np.testing.assert_array_equal(pipe.fit(X).predict(X), fit(scaled).predict(scaled))
    assert isinstance(pipe.predict(X), np.ndarray)
