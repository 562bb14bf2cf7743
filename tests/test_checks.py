"""Data that no model can be fitted to are refused before anything is sampled."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from bayesmixed.checks import check_rank, check_residuals, check_response, read_numbers
from bayesmixed.design import DesignSpec
from bayesmixed.errors import FormulaError
from bayesmixed.formula import parse

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
    values = read_numbers(y, n_rows, counts)
    check_response(values)
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
        (pd.to_datetime(["2024-01-01"] * 3), "y must be numeric, got dtype datetime64"),
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
        ("x + x2", "effect 'x2' is collinear: it is determined by 'x' and the intercept; drop one"),
        ("x2 + z + x", "effect 'x' is collinear: it is determined by 'x2' and the intercept"),
        ("x + z + sum", "effect 'sum' is collinear: it is determined by 'x', 'z' and the intercept"),
        ("0 + x + z + sum", "effect 'sum' is collinear: it is determined by 'x', 'z'; drop one"),
        ("0 + half + x + x2", "effect 'x2' is collinear: it is determined by 'half', 'x'; drop one"),
        ("x + half", "effect 'half' is constant, as the intercept is; drop it"),
        ("half + x + zero", "effect 'half', 'zero' is constant"),
        ("zero + x", "effect 'zero' is constant"),
        ("0 + zero + x", "'zero'"),
        ("0 + x + zero", "'zero'"),
        ("k + K", r"effect 'K\[B\]' is collinear: it is determined by 'k\[b\]' and the intercept"),
        ("0 + k + half", r"effect 'half' is collinear: it is determined by 'k\[a\]', 'k\[b\]', 'k\[c\]'; drop one"),
        ("z + far", "effect 'far' is collinear: it is determined by 'z' and the intercept"),
        ("z + small", "effect 'small' is collinear: it is determined by 'z' and the intercept"),
        ("x*z + z:x", "effect 'z:x' is collinear: it is determined by 'x:z' and the intercept"),
        ("x + scale(x)", r"effect 'scale\(x\)' is collinear"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_that_others_determine_is_named_with_them(formula, message, weighted, frame):
    weights = np.where(frame["g"] == "p", 3.0, 1.0) if weighted else None

    with pytest.raises(FormulaError, match=message):
        check_rank(design(formula, frame, weights=weights))


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
        "(x + x2 | g)",
    ],
)
def test_independent_columns_pass(formula, frame):
    check_rank(design(formula, frame))


def test_years_and_their_squares_are_not_collinear():
    frame = pd.DataFrame({"year": np.arange(1990, 2020)})

    check_rank(design("year + {year ** 2}", frame))


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_no_more_rows_than_columns_are_not_refused(n_rows, frame):
    few = frame[:n_rows]

    check_rank(design("x + x2", few))
    check_residuals(design("x + x2", few), refuse=True)


def test_one_row_more_than_columns_is_enough_to_refuse(frame):
    with pytest.raises(FormulaError, match="'x2' is collinear"):
        check_rank(design("x + x2", frame[:4]))


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
