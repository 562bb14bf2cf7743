"""Design columns: what formulae means, learned once as plain data, evaluated on any rows."""

import copy
import datetime
import itertools
import json
import pickle

import formulae
import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import BSpline

from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse
from bayesmixed.formula.tokens import NUMERIC_FUNCTIONS
from helpers.summed_cases import UNCENTRED
from helpers.twins import in_new_process, indicators, same_span

OTHER_ERA = "0.9.0" if formulae.__version__.startswith(("0.6.", "0.7.")) else "0.6.2"


@pytest.fixture
def frame():
    """Three numbers, a count, a boolean, two text columns; every combination of categories occurs."""
    rng = np.random.default_rng(3)
    rows = list(itertools.product(["b", "a", "c"], ["u", "v"], ["p", "q"], range(3)))
    frame = pd.DataFrame(rows, columns=["k", "h", "j", "n"]).sample(frac=1, random_state=1)
    for name in ["x", "z", "w"]:
        frame[name] = rng.uniform(0.5, 2, len(frame))
    frame["yes"] = frame["x"] > frame["z"]
    frame["my x"] = frame["x"] - 1
    return frame


def learn(formula, frame):
    """Spec of a formula without bars."""
    parsed = parse(formula)
    return ColumnsSpec.learn(parsed.common, parsed.variables, Table.read(frame, parsed.variables, formula=formula))


def evaluate(spec, frame):
    return spec.evaluate(Table.read(frame, spec.variables, formula=spec.text))


def columns(formula, frame, new=None):
    """Design columns of a formula, learned on `frame`."""
    return evaluate(learn(formula, frame), frame if new is None else new)[0]


FORMULAS = [
    "x",
    "n + yes",
    "k",
    "0 + k",
    "0 + x",
    "k + h + j",
    "x*z",
    "x*z*w",
    "(x + z + k)**2",
    "(k + h + j)**3",
    "k*x",
    "k/x",
    "x/k",
    "k/h/j",
    "k:x",
    "x:k",
    "k:h",
    "0 + k:h",
    "0 + k:x",
    "x + k:x + h:x",
    "k*h*x - x",
    "k*h - h",
    "(x + z):(k + h)",
    "k + x - 1",
    "x + z - x",
    "-1 + x",
    "poly(x, 3)",
    "poly(x, 3, raw=True)",
    "poly(x, degree=2)*k",
    "bs(x, df=4)",
    "bs(x, df=5, degree=2) + k",
    "scale(x) + standardize(z) + center(w)",
    "scale(x)*k",
    "scale(log(x))",
    "center(scale(x) + scale(z))",
    "bs(scale(x), df=4)",
    "poly(center(log(x)), 2)",
    "scale(poly(x, 2))",
    "{scale(x) / center(z)} + {scale(x) * 2}",
    "C(n)",
    "C(n, Sum)*x",
    "C(n, Treatment(1))",
    "C(yes)",
    "S(k)",
    "S(k, 'a') + T(h, 'v')",
    "0 + S(k)",
    "T(k, ref='c'):x",
    "C(C(k, Sum))",
    "I(k)",
    "{x + z} + I(x * z)",
    "{x > z} + {k == 'b'} + {h != 'u'}",
    "{(x + 1) * 2} + {x / (z + w)} + {x ** 2} + {-x}",
    "{x ** 2 - z ** 3 > 1}",
    "log(x) + log1p(z):k + sqrt(w)",
    "maximum(x, z) + minimum(x, 1.5)",
    "exp(log(x) * 0.5)",
    "`my x` + {`my x` ** 2}",
    "scale(`my x`):h",
    "1",
    "0",
]


def own_matrix(formula, frame):
    """The columns of formulae's own design, without intercept and offsets, and their number by term."""
    functions = {name: getattr(np, name) for name in NUMERIC_FUNCTIONS}
    matrices = formulae.design_matrices(formula, frame.reset_index(drop=True), extra_namespace=functions)
    if matrices.common is None:
        return np.empty((len(frame), 0))
    kept = [
        np.asarray(matrices.common[name]).reshape(len(frame), -1)
        for name, term in matrices.common.terms.items()
        if term.kind not in ("intercept", "offset")
    ]
    return np.hstack([np.empty((len(frame), 0)), *kept])


@pytest.mark.parametrize("formula", FORMULAS)
def test_columns_are_those_of_formulae(formula, frame):
    spec = learn(formula, frame)
    X, offset = evaluate(spec, frame)

    np.testing.assert_array_equal(X, own_matrix(formula, frame))
    assert X.shape == (len(frame), len(spec.names))
    assert len(set(spec.names)) == len(spec.names) == len(spec.term_of_name)
    assert offset is None


@pytest.mark.parametrize("formula", FORMULAS)
def test_one_new_row_at_a_time_equals_the_training_rows(formula, frame):
    spec = learn(formula, frame)
    X, _ = evaluate(spec, frame)
    some = range(0, len(frame), 4)
    by_row = [evaluate(spec, frame.iloc[[i]])[0] for i in some]

    np.testing.assert_allclose(np.concatenate(by_row), X[some], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_order_of_rows_and_columns_and_the_index_mean_nothing(formula, frame):
    shuffled = frame.sample(frac=1, random_state=0)[frame.columns[::-1]]
    X = pd.DataFrame(columns(formula, frame), index=frame.index)

    np.testing.assert_allclose(columns(formula, shuffled), X.loc[shuffled.index], rtol=1e-9, atol=1e-9)


# terms by their columns, the intercept being the empty one: the columns must span these, whatever the contrasts
SPANS = {
    "k + h": ["", "k", "h"],
    "0 + h + k": ["h", "k"],
    "k*h*j": ["khj"],
    "k:h": ["kh", ""],
    "0 + k:h": ["kh"],
    "k + h:j": ["", "k", "hj"],
    "k + k:h:j": ["khj", ""],
    "k:h + h:j": ["", "kh", "hj"],
    "k/h/j": ["khj", ""],
    "k/x": ["k", "kx", ""],
    "x/k": ["x", "kx", ""],
    "k*x - x": ["k", "kx", ""],
    "k*x - k": ["x", "kx", ""],
    "k:x": ["", "kx"],
    "k:x + h:x": ["", "kx", "hx"],
    "x + k:h:x": ["", "khx"],
    "0 + k*x": ["k", "kx"],
    "(x + z):(k + h)": ["", "xk", "xh", "zk", "zh"],
    "(k + h)/x": ["k", "h", "khx", ""],
    "S(k)*h": ["kh"],
    "k + scale(x):k": ["k", "kx", ""],
    # an interaction before its margins, as in R, is the same model
    "h:j + h": ["", "hj"],
    "h:j + h + k": ["", "hj", "k"],
    "h:x + k:x + x": ["", "hx", "kx"],
    "k:h:j + h:j + k": ["", "khj"],
    "h:j + j": ["", "hj"],
    # an interaction of three categories without its margins
    "k:h:j": ["", "khj"],
    "x + k:h:j": ["", "x", "khj"],
}


@pytest.mark.parametrize(("formula", "terms"), SPANS.items())
def test_contrasts_span_the_terms_and_are_never_redundant(formula, terms, frame):
    spec = learn(formula, frame)
    X = evaluate(spec, frame)[0]
    M = np.column_stack([np.ones((len(frame), int(spec.has_intercept))), X])
    every_level = np.column_stack([indicators(frame, *term) for term in terms])

    assert np.linalg.matrix_rank(M) == M.shape[1]
    assert same_span(M, every_level)


@pytest.mark.parametrize("seed", range(4))
def test_any_sum_of_interactions_spans_its_terms_in_any_order(seed, frame):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        terms = {tuple(sorted(rng.choice(list("khjxz"), rng.integers(1, 4), replace=False))) for _ in range(4)}
        terms = [*rng.permutation(sorted(map(":".join, terms)))]
        spec = learn(" + ".join(terms), frame)
        M = np.column_stack([np.ones(len(frame)), evaluate(spec, frame)[0]])
        every_level = np.column_stack([indicators(frame, *term.split(":")) for term in terms])

        assert np.linalg.matrix_rank(M) == M.shape[1], terms
        assert same_span(M, np.column_stack([np.ones(len(frame)), every_level])), terms


def test_labels_name_level_and_term(frame):
    def names(formula):
        spec = learn(formula, frame)
        return [*zip(spec.names, spec.term_of_name, strict=True)]

    assert names("k + x") == [("k[b]", "k"), ("k[c]", "k"), ("x", "x")]
    assert names("k/x") == [*names("k"), *((f"k[{level}]:x", "k:x") for level in "abc")]
    assert names("poly(x, 2) + {x > 1}") == [
        ("poly(x, 2)[0]", "poly(x, 2)"),
        ("poly(x, 2)[1]", "poly(x, 2)"),
        ("I(x > 1)", "I(x > 1)"),
    ]
    assert names("0 + k:h")[:3] == [("k[a]:h[u]", "k:h"), ("k[a]:h[v]", "k:h"), ("k[b]:h[u]", "k:h")]
    assert names("S(h)") == [("S(h)[u]", "S(h)")]


@pytest.mark.parametrize(
    ("formula", "has_intercept"),
    [("x", True), ("0 + x", False), ("x - 1", False), ("x + 0", False), ("0 + x + 1", True), ("1", True), ("0", False)],
)
def test_the_intercept_is_there_unless_removed(formula, has_intercept, frame):
    assert learn(formula, frame).has_intercept is has_intercept


# Inside braces and calls, arithmetic is Python's


PYTHON = {
    "{x + z * w}": lambda x, z, w: x + z * w,
    "{(x + z) * w}": lambda x, z, w: (x + z) * w,
    "{x - z - w}": lambda x, z, w: x - z - w,
    "{x / z / w}": lambda x, z, w: x / z / w,
    "{x / z * w}": lambda x, z, w: x / z * w,
    "{x * z ** 2}": lambda x, z, w: x * z**2,
    "{-x + z}": lambda x, z, w: -x + z,
    "{x * -z}": lambda x, z, w: x * -z,
    "{2 ** -x}": lambda x, z, w: 2**-x,
    "{x + z > w * 2}": lambda x, z, w: x + z > w * 2,
    "{(x > 1) * (z > 1)}": lambda x, z, w: (x > 1) & (z > 1),
    "{x * 1e-3}": lambda x, z, w: x * 1e-3,
    "{x + .5}": lambda x, z, w: x + 0.5,
    "{x + 1.}": lambda x, z, w: x + 1.0,
    "{(-x) ** 2}": lambda x, z, w: x**2,
    "{-(x ** 2)}": lambda x, z, w: -(x**2),
}


@pytest.mark.parametrize(("formula", "value"), PYTHON.items())
def test_arithmetic_in_braces_is_that_of_python(formula, value, frame):
    expected = value(*(frame[name] for name in ["x", "z", "w"]))

    np.testing.assert_allclose(columns(formula, frame)[:, 0], expected.astype(float), rtol=1e-12)


# formulae reads these as (-x) ** 2, (2 ** x) ** 2 and (0 < x) < 1: brackets say what is meant
MISREAD = [
    "{-x ** 2}",
    "exp(-x ** 2)",
    "{z + -x ** 2}",
    "{2 ** x ** 2}",
    "{0.7 < x < 1}",
    "{x > 1 == 0}",
    "log({-x**2 + 9})",
]


@pytest.mark.parametrize("formula", MISREAD)
def test_arithmetic_that_formulae_reads_unlike_python_is_refused(formula, frame):
    with pytest.raises(FormulaError, match=r"bracket|parenthes"):
        columns(formula, frame)


@pytest.mark.parametrize("formula", ["{x = z}", "I(x = z)", "{(x = z)}", "log({x = z})"])
def test_an_assignment_is_no_comparison(formula, frame):
    with pytest.raises(FormulaError, match="="):
        columns(formula, frame)


@pytest.mark.parametrize("formula", ["log(x, z)", "log(x, out=z)", "exp(x, dtype='float32')", "maximum(x, z, w)"])
def test_a_numeric_function_takes_nothing_but_its_numbers(formula, frame):
    with pytest.raises(FormulaError, match="argument"):
        columns(formula, frame)


@pytest.mark.parametrize("name", ["Treatment", "Sum"])
def test_a_column_may_be_called_like_a_contrast(name, frame):
    renamed = frame.rename(columns={"k": name})

    np.testing.assert_array_equal(columns(f"C({name}) + S({name}):x", renamed), columns("C(k) + S(k):x", frame))
    np.testing.assert_array_equal(columns(f"{{{name} == 'b'}}", renamed), columns("{k == 'b'}", frame))


@pytest.mark.parametrize("name", ["log", "C", "np.log", "I", "scale", "class", "x.values"])
def test_a_column_may_be_called_like_a_function(name, frame):
    renamed = frame.rename(columns={"x": name})

    np.testing.assert_array_equal(columns(f"{name} + log({name})", renamed), columns("x + log(x)", frame))


@pytest.mark.parametrize("name", ["np.pi", "x.values", "x.__class__", "log.__class__", "os.path", "np", "inf", "nan"])
@pytest.mark.parametrize("place", ["{}", "log({})", "{{{}}}", "T(k, {})"])
def test_a_name_is_a_column_or_refused(name, place, frame):
    with pytest.raises(FormulaError, match=f"uses '{name}', which is not a column of X"):
        columns(place.format(name), frame)


# Categories


def test_levels_are_in_order_of_the_categories(frame):
    ordered = pd.CategoricalDtype(["c", "a", "b"], ordered=True)
    for dtype in [pd.CategoricalDtype(["c", "a", "b"]), pd.CategoricalDtype(["c", "unused", "a", "b"]), ordered]:
        categorical = frame.assign(k=frame["k"].astype(dtype))
        for formula in ["k", "C(k)", "T(k)", "I(k)"]:
            spec = learn(formula, categorical)

            assert [name[-3:] for name in spec.names] == ["[a]", "[b]"]
            np.testing.assert_array_equal(evaluate(spec, categorical)[0], indicators(frame, "k")[:, :2])


def test_text_and_its_categorical_are_the_same_column(frame):
    spec = learn("k*x + C(h)", frame)
    new = frame.assign(k=pd.Categorical(frame["k"], ["c", "b", "a"]), h=frame["h"].astype("string"))

    np.testing.assert_array_equal(evaluate(spec, new)[0], evaluate(spec, frame)[0])


@pytest.mark.parametrize("formula", ["k", "C(k)", "S(k)*x", "T(k, 'c')", "I(k)", "k:h", "C(k, Sum)"])
@pytest.mark.parametrize("ordered", [None, False, True])
def test_rows_with_some_of_the_levels_are_evaluated(formula, ordered, frame):
    if ordered is not None:
        frame = frame.assign(k=pd.Categorical(frame["k"], ["c", "a", "b"], ordered=ordered))
    spec = learn(formula, frame)
    some = (frame["k"] == "b").to_numpy()

    np.testing.assert_array_equal(evaluate(spec, frame[some])[0], evaluate(spec, frame)[0][some])


def test_categories_may_be_numbers_or_booleans(frame):
    frame = frame.assign(n=pd.Categorical(frame["n"], [2, 0, 1]), yes=pd.Categorical(frame["yes"], [True, False]))
    spec = learn("n + yes", frame)
    plain = frame.assign(n=frame["n"].astype(float), yes=frame["yes"].astype(bool))

    assert spec.names == ("n[0]", "n[1]", "yes[False]")
    np.testing.assert_array_equal(evaluate(spec, plain)[0], evaluate(spec, frame)[0])
    np.testing.assert_array_equal(evaluate(spec, frame)[0][:, 0], frame["n"] == 0)


@pytest.mark.parametrize("comparison", ["k > 'lo'", "k >= 'mid'", "'hi' > k", "1 + (k < 'hi')"])
def test_the_order_of_categories_is_not_taken_for_that_of_their_text(comparison, frame):
    ordered = frame.assign(k=pd.Categorical(["lo", "mid", "hi"] * 12, ["lo", "mid", "hi"], ordered=True))

    with pytest.raises(FormulaError, match="'k'"):
        columns(f"{{{comparison}}}", ordered)


@pytest.mark.parametrize(
    ("formula", "new", "message"),
    [
        ("k", {"k": "d"}, r"'k' has levels not seen in fit: 'd' \(known levels: 'a', 'b', 'c'\).*\(1 \| k\)"),
        ("C(n)", {"n": 7}, r"'C\(n\)' has levels not seen in fit: 7 \(known levels: 0, 1, 2\)"),
        ("C(n)", {"n": 0.5}, r"'C\(n\)' has levels not seen in fit: 0\.5"),
        ("C(n)", {"n": "1"}, r"'C\(n\)' has levels not seen in fit: '1' \(known levels: 0, 1, 2\)"),
        ("k:x", {"k": ""}, "'k' has levels not seen in fit: ''"),
        ("T(k, 'b')", {"k": "B"}, "levels not seen in fit: 'B'"),
        ("k", {"k": 1}, "'k' has levels not seen in fit: 1 .* Known are texts, these are numbers: convert"),
    ],
)
def test_a_new_level_of_a_common_effect_is_refused(formula, new, message, frame):
    spec = learn(formula, frame)

    with pytest.raises(FormulaError, match=message):
        evaluate(spec, frame.assign(**new))


@pytest.mark.parametrize(("formula", "name"), [("k", "k"), ("k:x", "k"), ("C(k)", r"C\(k\)"), ("0 + k", "k")])
def test_a_category_with_one_level_is_refused(formula, name, frame):
    single = frame.assign(k=pd.Categorical(["a"] * len(frame), ["a", "unused"]))

    with pytest.raises(FormulaError, match=f"'{name}' has a single level, 'a'; drop it"):
        learn(formula, single)


# Terms that cannot be evaluated


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("log(n)", r"term 'log\(n\)' is NaN or infinite in 12 of 36 rows.*log of zero"),
        ("sqrt({x - 100})", r"is NaN or infinite in 36 of 36 rows"),
        ("k + {1 / n}:x", r"term 'I\(1 / n\):x' is NaN or infinite in 12 of 36 rows"),
        ("scale(log(n))", r"term 'scale\(log\(n\)\)' is NaN or infinite in 36"),
        ("scale({n - n})", "is NaN or infinite in 36 of 36 rows"),
        ("offset(log(n))", "is NaN or infinite in 12 of 36 rows"),
        ("T(k, 'z')", r"cannot evaluate .*'z' is not a level of 'k' \(levels: 'a', 'b', 'c'\)"),
        ("bs(x)", "cannot evaluate .*give its number of columns"),
        ("bs(x, df=1)", "cannot evaluate .*df has to be a whole number of at least 3, got 1"),
        ("log(k)", r"cannot evaluate 'log\(k\)'"),
        ("{x + k}", "cannot evaluate"),
        ("log()", "cannot evaluate"),
        ("scale(x, 3)", "cannot evaluate"),
        ("I(2)", "cannot evaluate"),
        ("C(k, x)", "x is not a contrast; use Treatment or Sum"),
        ("offset(k)", "cannot evaluate .*numeric"),
        ("x +", r"formula|cannot evaluate 'x \+'"),
        ("* x", "cannot evaluate"),
        ("x : : z", "cannot evaluate"),
        ("()", "cannot evaluate"),
        ("-x", "cannot evaluate .* as a sum of terms"),
        ("x*1", "cannot evaluate"),
        ("(x + z)**1.5", "1.5 is not a term|cannot evaluate"),
        ("x + (0 + z)", "cannot evaluate"),
    ],
)
def test_a_term_that_cannot_be_evaluated_is_refused_by_name(formula, message, frame):
    with pytest.raises(FormulaError, match=message):
        columns(formula, frame)


def test_new_rows_outside_a_functions_domain_are_refused(frame):
    spec = learn("log(x)", frame)

    with pytest.raises(FormulaError, match=r"term 'log\(x\)' is NaN or infinite in 1 of 36 rows"):
        evaluate(spec, frame.assign(x=[0.0, *frame["x"][1:]]))


@pytest.mark.parametrize("text", ["high", "1.5"])
@pytest.mark.parametrize("formula", ["x", "log(x)", "{x > 1}", "k*x"])
def test_text_where_fit_saw_numbers_is_refused(formula, text, frame):
    spec = learn(formula, frame)

    with pytest.raises(FormulaError, match="x"):
        evaluate(spec, frame.assign(x=text))


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("{(x + 1) * 2} + {x + 1 * 2}", r"I\(x \+ 1 \* 2\)"),
        ("{(x - z) - w}:k + {x - (z - w)}", r"I\(x - z - w\)"),
        ("{`x + z`} + {x + z}", r"I\(x \+ z\)"),
    ],
)
def test_different_terms_with_the_same_name_are_refused(formula, name, frame):
    with pytest.raises(FormulaError, match=f"two different terms are called '{name}'; compute one of them as a column"):
        columns(formula, frame.assign(**{"x + z": 1.0}))


def test_a_term_given_twice_is_one_term(frame):
    assert learn("x + k + x + k + x:x", frame).names == learn("x + k", frame).names


@pytest.mark.parametrize("formula", ["x*z - z:x", "x:z + w - z:x", "k*x - x:k"])
def test_removing_an_interaction_in_another_order_is_not_ignored(formula, frame):
    with pytest.raises(FormulaError, match="remove"):
        learn(formula, frame)


@pytest.mark.parametrize("formula", ["x**2", "log(x)**2", "k + x**2", "(k + x**2)**2"])
def test_a_power_of_one_term_outside_braces_is_refused(formula, frame):
    with pytest.raises(FormulaError, match=r"outside braces, .* means the term itself; .* write \{.* \*\* 2\}"):
        columns(formula, frame)


@pytest.mark.parametrize("values", [[2**40] * 35 + [1], [10**7] * 35 + [3]])
def test_integers_do_not_wrap_around(values, frame):
    X = columns("{n ** 7}", frame.assign(n=values))[:, 0]

    np.testing.assert_allclose(X, np.array(values, dtype=float) ** 7)


# Offsets


@pytest.mark.parametrize(
    ("formula", "offset"),
    [
        ("offset(x)", lambda f: f["x"]),
        ("offset(log(x)) + k", lambda f: np.log(f["x"])),
        ("0 + z + offset(x) + offset({z * 2})", lambda f: f["x"] + 2 * f["z"]),
        ("offset(2.5)", lambda f: 0 * f["x"] + 2.5),
        ("offset(n) + offset(-1)", lambda f: f["n"] - 1.0),
        ("offset(scale(x)) + x", lambda f: (f["x"] - f["x"].mean()) / f["x"].std(ddof=0)),
        ("offset(yes)", lambda f: f["yes"].astype(float)),
    ],
)
def test_offsets_add_up_and_are_no_effects(formula, offset, frame):
    spec = learn(formula, frame)
    X, values = evaluate(spec, frame)

    np.testing.assert_allclose(values, offset(frame), rtol=1e-12)
    assert values.shape == (len(frame),)
    assert not any("offset" in name for name in spec.names)
    assert X.shape == (len(frame), len(spec.names))
    np.testing.assert_allclose(evaluate(spec, frame[5:6])[1], values[5:6], rtol=1e-12)


@pytest.mark.parametrize(
    "formula", ["offset(x):z", "z:offset(x)", "offset(x)*z", "offset(x):k", "k:offset(x)", "z/offset(x)"]
)
def test_an_offset_in_an_interaction_is_refused(formula, frame):
    with pytest.raises(FormulaError, match="offset"):
        columns(formula, frame)


# Columns of the data


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, np.nan, np.nan], ValueError, r"column 'x' has 2 missing values \(NaN\) in 3 rows.*dropna"),
        ([1, None, 2], ValueError, "column 'x' has 1 missing values"),
        (["a", None, "b"], ValueError, "column 'x' has 1 missing values"),
        (pd.Categorical(["a", None, "b"]), ValueError, "column 'x' has 1 missing values"),
        (pd.Series([1, None, 2], dtype="Int64"), ValueError, "column 'x' has 1 missing values"),
        ([np.inf, 1.0, -np.inf], ValueError, r"column 'x' has 2 infinite values \(inf\) in 3 rows"),
        (pd.to_datetime(["2024-01-01"] * 3), FormulaError, "column 'x' has dtype datetime64.*days since a start"),
        (pd.to_timedelta([1, 2, 3]), FormulaError, "column 'x' has dtype timedelta"),
        ([1 + 2j, 1, 2], FormulaError, "column 'x' has dtype complex128"),
        ([(1,), (2,), (3,)], FormulaError, "column 'x' has dtype object"),
        ([datetime.date(2024, 1, day) for day in (1, 2, 3)], FormulaError, r"dtype object.*astype\('category'\)"),
    ],
)
def test_an_unusable_column_is_refused_by_name_and_count(values, error, message):
    data = pd.DataFrame({"x": values, "z": [1, 2, 3]})

    with pytest.raises(error, match=message):
        Table.read(data, ("z", "x"), formula="x + z")


def test_what_is_wrong_with_an_unused_column_means_nothing(frame):
    bad = frame.assign(z=np.nan, w=np.inf, h=None, j=pd.Timestamp("2024-01-01"))

    np.testing.assert_array_equal(columns("x*k", bad), columns("x*k", frame))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16", "Int64", "Float64", "boolean", "bool", "object"])
def test_numbers_of_any_type_are_numbers(dtype):
    values = pd.Series([1, 0, 1, 1])
    data = pd.DataFrame({"x": values.astype(dtype)})

    assert columns("x", data)[:, 0].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_absent_and_repeated_columns_are_refused():
    data = pd.DataFrame([[1, 2, 3]], columns=["x", "z", "z"])

    with pytest.raises(
        FormulaError, match=r"formula 'q' uses 'q', which is not a column of X \(columns: 'x', 'z', 'z'\)"
    ):
        Table.read(data, ("q",), formula="q")
    with pytest.raises(FormulaError, match="X has 2 columns called 'z'; give each its own name"):
        Table.read(data, ("z",), formula="z")


# What was learned travels as plain data

EVERYTHING = (
    "k*x + C(n, Sum) + S(h) + T(j, 'q'):w + poly(x, 2) + bs(z, df=4) + scale(w) + center(scale(log(z)))"
    " + {scale(x) / (z + 1e-3)} + yes + offset(log(w))"
)

APPLY = """
import json, sys
import pandas as pd
from bayesmixed.design.columns import ColumnsSpec
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import Table
given = json.load(sys.stdin)
spec = ColumnsSpec.from_state(given["state"])
X, offset = spec.evaluate(Table.read(pd.DataFrame(given["data"]), spec.variables))
json.dump([[v.hex() for v in row] for row in X.tolist()] + [[v.hex() for v in offset.tolist()]], sys.stdout)
"""


def test_the_state_applies_bit_equally_in_a_new_process(frame):
    spec = learn(EVERYTHING, frame)
    X, offset = evaluate(spec, frame)
    *rows, last = in_new_process(APPLY, {"state": spec.state, "data": frame.to_dict("list")})

    assert [[float.fromhex(v) for v in row] for row in rows] == X.tolist()
    assert [float.fromhex(v) for v in last] == offset.tolist()


@pytest.mark.parametrize("formula", [*FORMULAS, EVERYTHING])
def test_the_state_survives_json_and_pickle(formula, frame):
    spec = learn(formula, frame)
    X, _ = evaluate(spec, frame)
    for again in [
        ColumnsSpec.from_state(json.loads(json.dumps(spec.state))),
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
    ]:
        assert again == spec
        assert json.dumps(again.state) == json.dumps(spec.state)
        np.testing.assert_array_equal(evaluate(again, frame)[0], X)


def test_the_state_holds_no_rows(frame):
    long = pd.concat([frame] * 20, ignore_index=True)

    assert len(json.dumps(learn(EVERYTHING, long).state)) < 1.1 * len(json.dumps(learn(EVERYTHING, frame).state))


def test_evaluating_changes_neither_the_spec_nor_the_frame(frame):
    spec = learn(EVERYTHING, frame)
    state, before = json.dumps(spec.state), frame.copy()
    evaluate(spec, frame.iloc[3:9])
    evaluate(spec, frame)

    assert json.dumps(spec.state) == state
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("formula", ["bs(x, df=4)", "k + scale(bs(x, df=4))", "{2 * bs(x, df=4)}", "I(bs(x, df=4))"])
def test_a_spline_of_another_era_is_refused(formula, frame):
    state = learn(formula, frame).state | {"formulae_version": OTHER_ERA}

    with pytest.raises(FormulaError, match=rf"bs\(\) was learned with formulae {OTHER_ERA}.*fit again"):
        ColumnsSpec.from_state(state)


def test_what_is_no_spline_serves_every_era(frame):
    obs = frame.rename(columns={"x": "obs", "z": "bs"})
    spec = learn("scale(obs) + poly(bs, 2) + k", obs)
    again = ColumnsSpec.from_state(spec.state | {"formulae_version": OTHER_ERA})

    np.testing.assert_array_equal(evaluate(again, obs)[0], evaluate(spec, obs)[0])


@pytest.mark.parametrize("call", ["np.loadtxt('secret')", "C.__globals__.get('np')", "np.log(x)", "eval('1')"])
def test_a_state_that_was_tampered_with_calls_nothing(call, frame):
    state = json.loads(json.dumps(learn("log(x)", frame).state))
    state["text"] = call
    state["terms"][0][0]["name"] = str(formulae.model_description(call).common_terms[-1].name)

    with pytest.raises((FormulaError, KeyError), match=r"loadtxt|__globals__|log|eval"):
        evaluate(ColumnsSpec.from_state(state), frame)


def test_plain_columns_are_taken_as_they_are(frame):
    spec = ColumnsSpec.plain(["x", "yes"])
    again = ColumnsSpec.from_state(json.loads(json.dumps(spec.state)))

    assert again == spec
    assert (spec.names, spec.has_intercept, spec.text) == (("x", "yes"), True, None)
    np.testing.assert_array_equal(evaluate(again, frame)[0], frame[["x", "yes"]].astype(float))


def test_knots_of_a_spline_may_be_stated():
    """The basis of these knots, whatever rows it is learned from."""
    frame = pd.DataFrame({"x": np.linspace(0, 3, 31)})
    text = f"0 + bs(x, knots=[1, 2], lower_bound=0, upper_bound=3{UNCENTRED})"
    first, _ = DesignSpec.learn(parse(text), frame.iloc[5:9])
    whole, design = DesignSpec.learn(parse(text), frame)
    knots = [0.0] * 4 + [1.0, 2.0] + [3.0] * 4
    basis = BSpline.design_matrix(frame["x"].to_numpy(), knots, 3).toarray()

    np.testing.assert_allclose(design.X, basis if UNCENTRED else basis[:, 1:], atol=1e-12)
    np.testing.assert_array_equal(first.apply(frame).X, design.X)
    assert first.common == whole.common
