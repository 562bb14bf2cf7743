"""Data that no model can be fitted to are refused before anything is sampled."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

import bayesmixed as bm
from bayesmixed.design.frames import as_numbers, check_size, read_column
from bayesmixed.design.moments import Moments
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import FormulaError
from bayesmixed.estimators.identification.residuals import check_groups, check_residuals
from bayesmixed.estimators.identification.undetermined import (
    check_units,
    plainly_independent,
    warn_levels_of_one_row,
    warn_undetermined,
)
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse

THREE = [
    [1, 2, 3],
    (1.0, 2.0, 3.0),
    np.float32([1, 2, 3]),
    np.array([1, 2, 3], dtype=object),
    np.array([1, 2, 3], dtype="uint8"),
    pd.Series([1, 2, 3], index=[7, 8, 9]),
    pd.Series([1, 2, 3], dtype="Int64"),
    pd.Series([1, 2, 3], dtype="Float64"),
]


def read_response_of_a_fit(y, n_rows, counts=None):
    values = as_numbers(read_column(y, n_rows, counts))
    check_size(values)
    get_family("gaussian").check_fit(values)
    return values


@pytest.mark.parametrize("y", THREE, ids=lambda y: type(y).__name__)
def test_a_response_is_three_floats_whatever_it_came_in(y):
    values = read_response_of_a_fit(y, 3)

    assert values.dtype == np.float64
    assert values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("y", [[[1], [2], [3]], pd.DataFrame({"y": [1, 2, 3]})])
def test_a_column_vector_is_read_with_scikit_learns_warning(y):
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        assert read_response_of_a_fit(y, 3).tolist() == [1.0, 2.0, 3.0]


def test_rows_that_do_not_count_are_not_looked_at():
    counts = np.array([True, False, True])

    assert read_response_of_a_fit([1, np.nan, 3], 3, counts).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"Found 1 sample\(s\) with a positive weight, while a minimum of 2"):
        read_response_of_a_fit([1, 2, 3], 3, np.array([True, False, False]))


def test_a_boolean_response_is_zero_and_one():
    assert read_response_of_a_fit([True, False, True], 3).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], "X and y have inconsistent numbers of rows: 3 and 2"),
        ([[1, 2], [3, 4], [5, 6]], r"y should be a 1d array, got an array of shape \(3, 2\)"),
        (5.0, r"y should be a 1d array, got an array of shape \(\)"),
        (np.zeros((3, 1, 1)), "Found array with dim 3"),
        (["1", "2", "3"], "y must be numeric, got dtype"),
        ([1, "a", 3], "y must be numeric, got dtype"),
        (pd.Series(["a", "b", "a"], dtype="category"), "y must be numeric"),
        (pd.to_datetime(["2024-01-01"] * 3), r"y must be numeric, got dtype datetime64.* convert them, for example"),
        (pd.to_datetime(["2024-01-01"] * 3, utc=True), "y holds datetime64 values, so convert them"),
        (
            [datetime.date(2024, 1, day) for day in (1, 2, 3)],
            "y holds date values, so convert them, for example to days",
        ),
        (pd.to_timedelta([1, 2, 3]), "y holds timedelta64 values, so convert them, for example to days"),
        ([1j, 2, 3], "Complex data not supported"),
        ([1, np.nan, np.nan], "y contains NaN or infinity in 2 of 3 rows; drop these rows or impute"),
        ([1, None, 3], "y contains NaN or infinity in 1 of 3 rows"),
        (pd.Series([1, None, 3], dtype="Int64"), "y contains NaN or infinity in 1 of 3 rows"),
        (pd.Series([1.5, None, 3], dtype="Float64"), "y contains NaN or infinity in 1 of 3 rows"),
        ([1, np.inf, -np.inf], "y contains NaN or infinity in 2 of 3 rows"),
        ([2, 2, 2], r"y is constant \(2.0 in all 3 rows\)"),
    ],
)
def test_a_response_that_cannot_be_modelled_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        read_response_of_a_fit(y, 3)


@pytest.fixture
def frame():
    """Two numbers and a category, with columns that they determine."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=30), "z": rng.normal(size=30), "k": list("abc") * 10})
    frame["g"] = np.repeat(list("pqrst"), 6)
    frame["x2"] = 2 * frame["x"] + 3
    frame["sum"] = frame["x"] + frame["z"]
    frame["twice"] = 2 * frame["x"]
    frame["half"] = 0.5
    frame["zero"] = 0.0
    frame["K"] = frame["k"].str.upper()
    frame["far"] = frame["z"] + 1e3
    frame["small"] = frame["z"] * 1e-12
    return frame


def design(formula, frame, y=None, weights=None):
    y = np.random.default_rng(0).normal(size=len(frame)) if y is None else np.asarray(y, dtype=float)
    return DesignSpec.learn(parse(formula), frame, y=y, weights=weights)[1]


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x + x2", "'x2' is a combination of 'x' and the intercept. The model is fitted"),
        ("x2 + z + x", "'x' is a combination of 'x2' and the intercept"),
        ("x + z + sum", "'sum' is a combination of 'x', 'z' and the intercept"),
        ("0 + x + z + sum", r"'sum' is a combination of 'x', 'z'\. The"),
        ("0 + half + x + x2", r"'x2' is a combination of 'half', 'x'\. The"),
        ("x + half", "only by their priors: 'half' is constant. The model is fitted"),
        ("half + x + zero", "'half' is constant; 'zero' is all zero. The model is fitted"),
        ("zero + x", "'zero' is all zero"),
        ("0 + zero + x", "'zero' is all zero"),
        ("0 + x + zero", "'zero' is all zero"),
        (
            "x + x2 + sum + z + half",
            "'x2' is a combination .*; 'z' is a combination of 'x', 'sum' .*; 'half' is constant",
        ),
        ("k + K", r"'K\[B\]' is a combination of 'k\[b\]' and the intercept; 'K\[C\]' is"),
        ("0 + k + half", r"'half' is a combination of 'k\[a\]', 'k\[b\]', 'k\[c\]'\. The"),
        ("z + far", "'far' is a combination of 'z' and the intercept"),
        ("z + small", "'small' is a combination of 'z' and the intercept"),
        ("x*z + z:x", "'z:x' is a combination of 'x:z' and the intercept"),
        ("x + scale(x)", r"'scale\(x\)' is a combination of 'x'"),
        ("x + (half | g)", "'half' is constant left of the bar of 'g'"),
        ("x + (x + x2 | g)", "'x2' is a combination of 'x' and the intercept left of the bar of 'g'"),
        ("(0 + x + sum + z | g)", "'z' is a combination of 'x', 'sum' left of the bar of 'g'"),
        ("(x + twice || g)", "'twice' is a multiple of 'x' left of the bars of 'g'"),
        ("(x | g) + (0 + twice | g)", "'twice' is a multiple of 'x' left of the bars of 'g'"),
        ("x + (x + zero || g)", "'zero' is all zero left of the bar of 'g'"),
        ("half + (1 | g) + (0 + half | g)", "'half' is constant; 'half' is constant left of the bar of 'g'"),
        ("(0 + zero | g)", "'zero' is all zero left of the bar of 'g'"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_that_others_determine_are_named_in_one_warning(formula, message, weighted, frame):
    weights = np.where(frame["g"] == "p", 3.0, 1.0) if weighted else None

    with pytest.warns(UserWarning, match=f"not identified by the data.*{message}") as caught:
        warn_undetermined(design(formula, frame, weights=weights))
    assert len(caught) == 1


@pytest.mark.parametrize(
    "formula",
    [
        "x + z",
        "x + far",
        "x + small",
        "0 + x + x2",
        "0 + half + x",
        "k*x*z",
        "0 + k",
        "k:x",
        "poly(x, 5)",
        "bs(x, df=6)",
        "x + {x ** 2} + {x ** 3} + {x ** 4}",
        "1",
        "0",
        "(x + z | g)",
        "(1 | g) + (0 + k | g)",
        "(k || g)",
        "(0 + half | g)",
        "(x | g) + (0 + x2 | g)",
    ],
)
def test_of_independent_columns_nothing_is_said(formula, frame):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_undetermined(design(formula, frame))

    assert caught == []


def test_sums_alone_tell_what_is_plainly_independent():
    """Far from zero, too. What hides behind columns that are nearly combinations themselves is left to the rows."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 500))

    def plainly(*columns):
        return plainly_independent(Moments.of(np.column_stack(columns)), centred=True)

    assert plainly(x, z, x * z)
    assert plainly(1e6 + x, 1e-9 * z)
    assert plainly(x, x + 1e-2 * z)
    assert not plainly(x, 2 * x)
    assert not plainly(x, np.full(500, 7.1))
    assert not plainly(x, x + 1e-6 * z, z)
    assert not plainly(1e9 + x, z)
    assert not plainly_independent(Moments.of(np.column_stack([x, 3 * x])), centred=False)


def test_years_and_their_powers_are_told_apart():
    frame = pd.DataFrame({"year": np.arange(1990, 2020)})

    warn_undetermined(design("year + {year ** 2} + {year ** 3}", frame))


def test_powers_that_double_precision_cannot_tell_apart_are_named():
    frame = pd.DataFrame({"t": 1e5 + np.arange(30.0)})

    with pytest.warns(UserWarning, match="t \\*\\* 3"):
        warn_undetermined(design("t + {t ** 2} + {t ** 3}", frame))


def test_where_columns_outnumber_rows_those_that_are_too_many_are_named(frame):
    with pytest.warns(UserWarning, match="'sum' is a combination of 'x', 'z' and the intercept"):
        warn_undetermined(design("x + z + sum", frame[:3]))
    check_residuals(design("x + z", frame[:3]), refuse=True)


def test_a_long_list_is_cut(frame):
    many = frame.assign(**{f"c{i}": i * frame["x"] for i in range(1, 15)})
    formula = " + ".join(["x", *(f"c{i}" for i in range(1, 15))])

    with pytest.warns(UserWarning, match="'c10' is a combination of 'x' and the intercept; 4 more. The"):
        warn_undetermined(design(formula, many))


EXACT = [
    ("x + z", lambda f: 2 * f["x"] - f["z"] + 1, "'x', 'z'"),
    ("x", lambda f: 2 * f["x"] + 1e3, "'x'"),
    ("0 + x", lambda f: 2 * f["x"], "'x'"),
    ("k", lambda f: f["k"].map({"a": 1, "b": 5, "c": 2}), r"'k\[b\]', 'k\[c\]'"),
    ("x + offset(z)", lambda f: f["x"] + f["z"], "'x'"),
    ("x + (1 | g)", lambda f: f["x"] * 1e-9, "'x'"),
]


@pytest.mark.parametrize(("formula", "y", "names"), EXACT)
def test_an_exact_fit_is_refused_or_warned_of(formula, y, names, frame):
    exact = design(formula, frame, y(frame))

    with pytest.raises(FormulaError, match=f"effects {names} fit y without error.*computed from y"):
        check_residuals(exact, refuse=True)
    with pytest.warns(UserWarning, match=rf"effects {names} fit y without error.*sigma is kept above 1e-06 sd\(y\)"):
        check_residuals(exact, refuse=False)


@pytest.mark.parametrize(
    ("formula", "y"),
    [
        ("x", lambda f: 2 * f["x"] + 1e-6 * f["z"]),
        ("0 + x", lambda f: 2 * f["x"] + 1),
        ("z", lambda f: f["x"]),
        ("x", lambda f: 1e9 + f["z"]),
        ("x", lambda f: 1e12 + f["z"]),
        ("1 + (1 | g)", lambda f: f["x"]),
        ("0 + (1 | g)", lambda f: f["x"]),
        ("offset(z) + (1 | g)", lambda f: f["x"]),
        ("1", lambda f: f["x"]),
    ],
)
@pytest.mark.parametrize("refuse", [True, False])
def test_a_fit_with_error_passes(formula, y, refuse, frame):
    check_residuals(design(formula, frame, y(frame)), refuse)


def test_weights_do_not_make_a_fit_exact(frame):
    y = frame["x"] + np.where(frame.index == 0, 1.0, 0.0)

    check_residuals(design("x", frame, y, np.where(frame.index == 0, 1e-3, 1.0)), refuse=True)


def test_offsets_that_leave_nothing_are_an_exact_fit(frame):
    with pytest.raises(FormulaError, match="without error"):
        check_residuals(design("offset(x) + (1 | g)", frame, frame["x"] + 1), refuse=True)


# ---- groups that leave no residual

STEP = {"p": 1.0, "q": 4.0, "r": 2.5, "s": -1.0, "t": 0.3}
OWN_LINE = {
    "a value per group": (
        "1 + (1 | g)",
        lambda f: f["g"].map(STEP),
        "'g' explains .*y does not vary within its levels",
    ),
    "and common effects": ("x + k + (1 | g)", lambda f: f["g"].map(STEP) + 3 * f["x"] + (f["k"] == "b"), "not vary"),
    "an offset": ("offset(z) + (1 | g)", lambda f: f["g"].map(STEP) + f["z"], "does not vary within its levels"),
    "a line per group": ("x + (x | g)", lambda f: f["g"].map(STEP) * (1 + f["x"]), "a line of its own in 'x' for each"),
    "without correlation": ("(x || g)", lambda f: f["g"].map(STEP) * (1 + f["x"]), "a line of its own in 'x'"),
    "a slope alone": ("(0 + x | g)", lambda f: f["g"].map(STEP) * f["x"], "a line of its own in 'x' for each level"),
    "a plane per group": ("(x + z | g)", lambda f: f["g"].map(STEP) * (f["x"] - f["z"]), "of its own in 'x', 'z'"),
    "a value per group and category": (
        "(k | g)",
        lambda f: f["g"].map(STEP) * (f["k"] == "c"),
        "categories of 'k.b.', 'k.c.'",
    ),
    "far from zero": ("(1 | g)", lambda f: 1e6 + f["g"].map(STEP), "does not vary"),
    "two bars": ("(1 | g) + (1 | h)", lambda f: f["h"].map({0: 1.0, 1: 5.0, 2: 7.0}), "grouping factor 'h'"),
    "of both": ("(1 | g) + (1 | h)", lambda f: f["g"].map(STEP) + f["h"] ** 2, "factors 'g', 'h' together explain"),
    "of both, slopes": ("(x | g) + (1 | h)", lambda f: f["g"].map(STEP) * f["x"] + f["h"] ** 2, "'g', 'h' together"),
    "in a far column": ("(far | g)", lambda f: f["g"].map(STEP) * (f["far"] - 1000), "a line of its own in 'far'"),
    "but for rounding": ("(1 | g)", lambda f: f["g"].map(STEP) + 1e-12 * f["x"], "does not vary"),
}


@pytest.mark.parametrize("case", OWN_LINE)
@pytest.mark.parametrize("weighted", [False, True])
def test_groups_that_explain_everything_are_refused_with_the_cure(case, weighted, frame):
    formula, y, message = OWN_LINE[case]
    frame = frame.assign(h=np.arange(30) % 3)
    weights = np.where(frame["g"] == "p", 3.0, 1.0) if weighted else None

    with pytest.raises(FormulaError, match=message) as raised:
        check_groups(design(formula, frame, y(frame), weights))
    assert "without residual" in str(raised.value)
    assert "one row per level, or drop the bar" in str(raised.value) or "drop one of the bars" in str(raised.value)


@pytest.mark.filterwarnings("ignore")  # of columns that hardly vary within levels
@pytest.mark.parametrize("source", [lambda formula, rows: rows, bm.SufficientStatistics.of], ids=["rows", "sums"])
@pytest.mark.parametrize("bar", ["(x | g)", "(x + x2 | g)"])
@pytest.mark.parametrize("ratio", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-7])
def test_slopes_that_hardly_vary_within_levels_do_not_hide_what_intercepts_explain(source, bar, ratio):
    """Rounding drops directions of the whole bar, so that it seems to leave what its first effect explains."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 10)
    between, within = rng.normal(size=(2, 12))[:, g], rng.normal(size=(3, 120))
    x, x2 = between + ratio * within[:2]
    frame = pd.DataFrame({"x": x, "x2": x2, "w": within[2], "g": g, "y": rng.normal(size=12)[g]})
    formula = f"y ~ w + {bar}"

    with pytest.raises(FormulaError, match=r"'g' explains y without residual: .* does not vary within its levels"):
        bm.MixedModelRegressor(formula, draws=50).fit(source(formula, frame))


@pytest.mark.filterwarnings("ignore:.*as many levels as rows:UserWarning")
@pytest.mark.parametrize(
    ("formula", "y"),
    [
        ("(1 | g)", lambda f: f["g"].map(STEP) + 1e-5 * f["z"]),
        ("(1 | g)", lambda f: 1e9 + 1e-4 * f["g"].map(STEP) + 1e-5 * f["z"]),
        ("(1 | g)", lambda f: f["g"].map(STEP) * f["x"]),
        ("(x | g)", lambda f: f["g"].map(STEP) * f["x"] + f["x"] ** 2),
        ("(0 + x | g)", lambda f: f["g"].map(STEP)),
        ("x + (1 | g)", lambda f: f["g"].map(STEP) + f["z"]),
        ("(1 | g) + (1 | h)", lambda f: f["g"].map(STEP) * f["h"]),
        ("(1 | row)", lambda f: f["x"]),  # as many levels as rows: nothing can be said
        ("(x | pair)", lambda f: f["z"]),  # a line through every two points
        ("(1 | g) + (1 | row)", lambda f: f["z"]),
        ("x + z", lambda f: f["x"]),
    ],
)
def test_groups_that_leave_something_pass(formula, y, frame):
    frame = frame.assign(h=np.arange(30) % 3, row=np.arange(30), pair=np.arange(30) // 2)

    check_groups(design(formula, frame, y(frame)))


def test_the_first_rows_alone_do_not_decide():
    """The quick look is at some levels; that they are explained says nothing of the others."""
    n = 5000
    frame = pd.DataFrame({"g": np.repeat(np.arange(100), 50), "x": np.random.default_rng(0).normal(size=n)})
    y = np.where(frame["g"] < 99, frame["g"], frame["x"])

    check_groups(design("(1 | g)", frame, y))
    with pytest.raises(FormulaError, match="does not vary"):
        check_groups(design("(1 | g)", frame, frame["g"] * 2.0))


@pytest.mark.parametrize("size", [1e154, 1e-154, 1e200, 1e-300])
@pytest.mark.parametrize("what", ["x", "y", "slope"])
def test_units_beyond_what_a_double_can_square_are_refused(what, size, frame):
    """Their sums of squares overflow, or vanish: what is said of a residual then is noise."""
    formula = {"x": "x + (1 | g)", "y": "(1 | g)", "slope": "(x | g)"}[what]
    y = frame["z"] * (size if what == "y" else 1)
    frame = frame.assign(x=frame["x"] * (1 if what == "y" else size))

    with pytest.raises(FormulaError, match=r"must be from 1e-100 to 1e\+100.*express it in another unit"):
        check_units(design(formula, frame, y))


@pytest.mark.parametrize(("fewer", "warned"), [(0, True), (1, False)])
def test_levels_of_one_row_each_are_warned_of(fewer, warned):
    frame = pd.DataFrame({"x": np.arange(12.0), "row": np.maximum(np.arange(12), fewer)})
    design = DesignSpec.learn(parse("x + (1 | row)"), frame, y=np.arange(12.0) % 5)[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_levels_of_one_row(design)

    assert ["'row' has as many levels as rows (12)" in str(w.message) for w in caught] == [True] * warned
