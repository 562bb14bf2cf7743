"""One warning names categories that were probably meant as something else, and one splines beyond their knots."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse

N = 60


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=N), "g": np.repeat(list("abcdef"), 10), "k": list("pqr") * 20})
    frame["z"] = rng.uniform(1, 3, N)
    return frame


def learn(formula, frame, **options):
    return DesignSpec.learn(parse(formula), frame, **options)[0]


def warnings_of(formula, frame, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learn(formula, frame, **options)
    return [str(warning.message) for warning in caught]


def objects(*values):
    return pd.Series([*values] * N, dtype=object)[:N]


NUMBERS = {
    "whole": ["3", "1", "2"],
    "years": ["2019", "2020", "2021"],
    "points": ["1.5", "2.25", ".5"],
    "signs and exponents": ["-1", "+2", "1e3"],
    "commas": ["1,5", "2,5", "-0,5"],
    "thousands": ["1,234.5", "2,000", "12"],
    "spaces": [" 1", "2 ", "3"],
    "zeros in front": ["007", "012", "100"],
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("formula", ["t", "t*x + (1 | g)", "x + (t | g)", "{t}"])
@pytest.mark.parametrize("dtype", ["object", "string"])
def test_text_that_reads_as_numbers_is_named_with_its_levels_and_the_cure(values, formula, dtype, frame):
    found = warnings_of(formula, frame.assign(t=objects(*values).astype(dtype)))

    assert len(found) == 1
    assert "'t' is text that reads as numbers and is fitted as a category of 3 levels" in found[0]
    assert "pd.to_numeric(X['t'])" in found[0]
    assert "C(t)" in found[0]


@pytest.mark.parametrize(
    "values", [["1a", "2b"], ["a", "1"], ["1-2", "3-4"], ["2024-01-01", "2025-01-01"], ["3+", "1"]]
)
def test_other_text_is_left_alone(values, frame):
    assert warnings_of("t + (t | g)", frame.assign(t=objects(*values))) == []


@pytest.mark.parametrize("text", ["nan", "inf", "", "-", "1,2,x"])
def test_text_of_which_one_is_no_number_is_left_alone(text, frame):
    assert warnings_of("t", frame.assign(t=objects("1", "2", text))) == []


@pytest.mark.parametrize("formula", ["C(t)", "T(t, '2')", "S(t):x", "C(t, Sum)", "x + (1 | t)", "x + (x | g:t)"])
def test_numbers_that_are_said_to_be_a_category_or_labels_are_left_alone(formula, frame):
    assert warnings_of(formula, frame.assign(t=objects("1", "2", "3"))) == []


@pytest.mark.parametrize("values", [pd.Categorical(["1", "2", "3"] * 20), [1, 2, 3] * 20, [1.5, 2.5, 3] * 20])
def test_a_categorical_says_that_it_is_one_and_numbers_are_numbers(values, frame):
    assert warnings_of("t", frame.assign(t=values)) == []


MIXED = {
    "number and text": ([1, "a", 2.5], 3),
    "number and its text": ([1, "1", "2"], 2),
    "boolean and text": ([True, "no"], 2),
    "boolean and number": ([True, 2, 3], 3),
    "date and text": ([pd.Timestamp("2024-01-01"), "never"], 2),
    "decimal and text": ([Decimal("1.5"), "x"], 2),
    "tuple and text": ([("a", 1), "b"], 2),
}


@pytest.mark.parametrize(("values", "levels"), MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("formula", ["t", "C(t)", "x + (t | g)"])
def test_values_of_several_types_are_their_text_and_named(values, levels, formula, frame):
    found = warnings_of(formula, frame.assign(t=objects(*values)))

    assert len(found) == 1
    assert f"'t' holds values of several types and is fitted as a category of their {levels} texts" in found[0]
    assert "X['t'].astype(str)" in found[0]


@pytest.mark.parametrize("values", [[1, Decimal("2.5")], [np.float64(1), 2], [np.int8(1), 2.5], [Decimal(1), 2.0]])
def test_numbers_of_several_types_are_numbers(values, frame):
    numbers = frame.assign(t=objects(*values))

    assert warnings_of("t", numbers) == []
    assert learn("t", numbers).common_names == ("t",)


@pytest.mark.parametrize("formula", ["x + (1 | t)", "x + (x | t:g)"])
def test_labels_of_several_types_are_left_alone(formula, frame):
    assert warnings_of(formula, frame.assign(t=objects("a", 1, 2))) == []


@pytest.mark.parametrize(
    ("formula", "rows", "levels", "named"),
    [
        ("t", 60, 31, True),
        ("t", 60, 30, False),
        ("x*t", 60, 31, True),
        ("C(n)", 60, 40, True),
        ("T(n)", 60, 29, False),
        ("t", 300, 51, True),
        ("t", 300, 50, False),
        ("c", 300, 51, True),
        ("x + (c | g)", 300, 60, True),
        ("x + (1 | t)", 60, 50, False),
        ("n", 60, 60, False),
    ],
)
def test_more_than_50_levels_or_half_the_rows_are_named(formula, rows, levels, named, frame):
    frame = pd.concat([frame] * (rows // N), ignore_index=True)
    n = np.arange(rows) % levels
    found = warnings_of(formula, frame.assign(n=n, t=[f"u{i}" for i in n], c=pd.Categorical(n + 0.5)))

    assert len(found) == named
    assert all(f"is a category of {levels} levels in {rows} rows" in text for text in found)
    assert all("(1 | " in text or "leave out the C()" in text for text in found)


def test_rows_count_as_often_as_their_weights_say(frame):
    short = frame.iloc[:10].assign(t=[f"u{i}" for i in range(8)] + ["u0", "u1"])

    assert len(warnings_of("t", short)) == 1
    assert warnings_of("t", short, weights=np.full(10, 2.0)) == []
    assert warnings_of("t", pd.concat([short, short])) == []


def test_all_that_is_doubtful_is_one_warning_with_the_names_in_backquotes_where_needed(frame):
    doubtful = frame.assign(**{"a b": objects("1", "2"), "m": objects(1, "x"), "u": [f"u{i}" for i in range(N)]})
    doubtful["v"] = objects("5", "6", "7")
    found = warnings_of("`a b` + m + u + v + (1 | g)", doubtful)

    assert len(found) == 1
    for part in ["C(`a b`)", "'v' is text", "'m' holds values", "'u' is a category of 60 levels", "(1 | u)"]:
        assert part in found[0]


def test_a_long_list_is_cut(frame):
    many = {f"t{i}": objects("1", "2") for i in range(9)}
    found = warnings_of(" + ".join(many), frame.assign(**many))

    assert "'t4'" in found[0]
    assert "'t5'" not in found[0]
    assert "and 4 more" in found[0]


# ---- splines

BEYOND = {
    "bs(x, df=4)": ("x", [-9.0, 0.0, 9.0], 2),
    "bs(z, df=5, degree=2)": ("z", [0.5, 2.0, 3.5], 2),
    "bs(log(z), df=3)": (r"log\(z\)", [0.01, 2.0, 2.0], 1),
    "k + bs(z, df=4)": ("z", [1.5, 2.0, 300.0], 1),
    "x + (bs(z, df=4) | g)": ("z", [-1.0, -1.0, -1.0], 3),
    "scale(bs(z, df=4))": ("z", [2.0, 2.0, 9.0], 1),
    "bs({z - x}, df=3)": (r"I\(z - x\)", [99.0, 2.0, 2.0], 1),
}


@pytest.mark.parametrize(("formula", "of", "values", "rows"), [(f, *rest) for f, rest in BEYOND.items()])
def test_a_spline_beyond_its_boundary_knots_is_named_once_per_call(formula, of, values, rows, frame):
    spec = learn(formula, frame)
    new = frame.iloc[:3].assign(x=values, z=values) if "x," in formula else frame.iloc[:3].assign(x=0.0, z=values)

    with pytest.warns(
        UserWarning, match=rf"beyond their boundary knots: '{of}' in {rows} of 3 rows \(.* to "
    ) as caught:
        spec.apply(new)
    assert len(caught) == 1


def test_several_splines_are_one_warning(frame):
    spec = learn("bs(x, df=4) + bs(z, df=4) + (bs(x, df=4) | g)", frame)

    with pytest.warns(UserWarning, match="'x' in 1 of 1 rows .*; 'z' in 1 of 1 rows") as caught:
        spec.apply(frame.iloc[:1].assign(x=50.0, z=50.0))
    assert len(caught) == 1


@pytest.mark.parametrize("formula", ["bs(x, df=4)", "bs(scale(x), df=4)", "bs(log(z), df=4)", "x + (bs(z, df=3) | g)"])
def test_rows_between_the_knots_are_left_alone(formula, frame):
    spec = learn(formula, frame)

    spec.apply(frame)
    spec.apply(frame.sort_values("x").iloc[[0, -1]])
    spec.apply(frame.iloc[:0])
    spec.apply(frame.assign(g="new"))


def test_bounds_that_are_given_are_the_boundary_knots(frame):
    spec = learn("bs(x, df=4, lower_bound=-50, upper_bound=50)", frame)

    spec.apply(frame.iloc[:2].assign(x=[-50.0, 50.0]))
    with pytest.warns(UserWarning, match=r"'x' in 1 of 2 rows \(-50 to 50\)"):
        spec.apply(frame.iloc[:2].assign(x=[-50.0, 50.1]))


def test_a_factor_that_is_left_out_does_not_warn(frame):
    spec = learn("x + (bs(z, df=4) | g)", frame)

    spec.apply(frame.assign(z=99.0), ())
