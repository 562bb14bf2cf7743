"""Calls that cannot be evaluated are refused in our own words, which name the call, the column and the cure."""

import re

import numpy as np
import pandas as pd
import pytest

from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse

# what formulae, NumPy, pandas and Python say of their insides
FOREIGN = re.compile(
    r"Error:|ufunc|dtype|positional|keyword|__call__|argument '|must specify|must be|too small for|unrecognized|"
    r"CategoricalBox|Encoding|not in list|unsupported operand|interpreted as|'<=?' not supported|object",
    re.IGNORECASE,
)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(1, 2, 24), "k": list("pqr") * 8, "two": [0.0, 1.0] * 12})
    frame["c"] = pd.Categorical(["lo", "mid", "hi"] * 8, ["lo", "mid", "hi"])
    frame["rank"] = pd.Categorical([1, 2, 3] * 8)
    frame["yes"] = [True, False] * 12
    return frame


def learn(formula, frame):
    return DesignSpec.learn(parse(formula), frame)


REFUSED = {
    # a function of what holds no numbers
    "log10(k)": r"'log10\(k\)': 'k' holds text, but log10\(\) takes numbers.*pd.to_numeric",
    "x + exp(c)": r"'c' holds categories, but exp\(\) takes numbers",
    "sqrt(rank)": r"'rank' holds categories, but sqrt\(\) takes numbers",
    "standardize(k)": r"'k' holds text, but standardize\(\) takes numbers",
    "poly(c, 2)": r"'c' holds categories, but poly\(\)",
    "bs(C(x), df=4)": r"'C\(x\)' holds categories, but bs\(\)",
    "minimum(x, k)": r"'k' holds text, but minimum\(\)",
    "offset(c)": r"'c' holds categories, but offset\(\)",
    "k:log1p(k)": r"'log1p\(k\)': 'k' holds text",
    "scale(log(k))": r"'log\(k\)': 'k' holds text",
    "log('a')": "does not use any column",
    "maximum(x, 'a')": r"'a' is text, but maximum\(\)",
    # arithmetic with it
    "{k - 1}": "'k - 1': 'k' holds text, which cannot be used in arithmetic",
    "{2 * c}": "'c' holds categories, which cannot be used in arithmetic",
    "{k * 2}": "'k' holds text",
    "{-k}": "'k' holds text",
    "{k ** 2}": "'k' holds text",
    "{k >= 3}": "'k' holds text, which cannot be compared to numbers",
    # arguments
    "sqrt()": "does not use any column",
    "center(x, two)": r"center\(\) does not take these arguments; write center\(x\)",
    "scale(x, ddof=1)": r"scale\(\) does not take these arguments",
    "maximum(x)": r"write maximum\(x, z\)",
    "poly(x, deg=2)": r"poly\(\) does not take these arguments; write poly\(x, 2\)",
    "bs(x, 4, knot=2)": r"bs\(\) does not take these arguments; write bs\(x, df=4\)",
    "T(k, 'p', 'q', 'r')": r"write T\(k\) or T\(k, 'reference'\)",
    "C(k, Treatment('p', 'q'))": r"write C\(k\), C\(k, Sum\)",
    # splines
    "bs(x, degree=2)": "give its number of columns",
    "bs(two, df=2)": "df has to be a whole number of at least 3, got 2",
    "bs(x, df=2, degree=3)": "at least 3, got 2",
    "bs(x, df=3, center=False)": "df has to be a whole number of at least 4, got 3",
    "bs(x, df='4')": "df has to be a whole number of at least 3, got '4'",
    "bs(x, df=two)": "df has to be a whole number of at least 3, got a column",
    "bs(x, df=4, degree=1.5)": "degree has to be a whole number of at least 0, got 1.5",
    "bs(x, knots=1.5)": r"knots has to be a list of numbers, as in knots=\[2, 5\]",
    "bs(x, df=5, knots=[1.95])": "knots already determine the number of columns; leave out df",
    "bs(x, knots=[1.96, 1.95])": "its knots have to increase and lie between its bounds",
    "bs(x, knots=[1.95], lower_bound=2, upper_bound=3)": "increase and lie between its bounds",
    "bs(x, df=4, lower_bound='a')": "bounds have to be numbers",
    "bs(x, df=4, lower_bound=3, upper_bound=2)": "lower_bound has to be below upper_bound",
    "bs(x, df=6, lower_bound=1.95)": r"cannot evaluate 'bs\(x, df=6, lower_bound=1.95\)'",
    # polynomials
    "poly(two, 2)": "'two' has 2 distinct values, but a polynomial of degree 2 needs at least 3",
    "poly({two + 1}, 5)": r"'two \+ 1' has 2 distinct values|'I\(two \+ 1\)' has 2 distinct values",
    "poly(yes, 2)": "'yes' has 2 distinct values",
    "poly(x, 24)": "'x' has 24 distinct values, but a polynomial of degree 24 needs at least 25",
    "poly(x, 0)": "the degree has to be a whole number of at least 1, got 0",
    "poly(x, 1.5)": "the degree has to be a whole number of at least 1, got 1.5",
    "poly(x, 2, raw=3)": "raw has to be True or False",
    # references
    "S(k, 'z')": r"'z' is not a level of 'k' \(levels: 'p', 'q', 'r'\)",
    "C(k, Treatment('P'))": "'P' is not a level of 'k'",
    "T(c, 'low')": r"'low' is not a level of 'c' \(levels: 'lo', 'mid', 'hi'\)",
    "T(rank, 4)": r"4 is not a level of 'rank' \(levels: 1, 2, 3\)",
    "C(k, Sum(2))": "2 is not a level of 'k'",
    # nothing to learn from
    "I(3)": "does not use any column",
    "center(2)": "does not use any column",
}


@pytest.mark.parametrize(("formula", "message"), REFUSED.items())
@pytest.mark.parametrize("place", ["{}", "x + ({} | k)"])
def test_a_call_that_cannot_be_learned_is_refused_in_our_own_words(formula, message, place, frame, capsys):
    with pytest.raises(FormulaError, match=message) as caught:
        learn(place.replace("{}", formula), frame)

    assert "cannot evaluate" in str(caught.value)
    assert not FOREIGN.search(str(caught.value))
    assert capsys.readouterr() == ("", "")


UNREADABLE = ["x +", "* x", "x : : two", "-x", "x*1", "x + (0 + two)", "x ** x", "()"]


@pytest.mark.parametrize("formula", UNREADABLE)
def test_a_text_that_is_no_sum_of_terms_is_refused_in_our_own_words(formula, frame):
    with pytest.raises(FormulaError) as caught:
        learn(formula, frame)

    assert not FOREIGN.search(str(caught.value))


@pytest.mark.parametrize("formula", ["log(x)", "{x + 1}", "center(x)", "bs(x, df=4)", "poly(x, 2)", "sqrt({2 * x})"])
@pytest.mark.parametrize("new", ["a", pd.Categorical(["a"] * 24), pd.Categorical(pd.to_datetime(["2024-01-01"] * 24))])
def test_text_in_new_rows_is_refused_in_our_own_words(formula, new, frame):
    spec, _ = learn(formula, frame)

    with pytest.raises(FormulaError, match="'x' holds text") as caught:
        spec.apply(frame.assign(x=new))
    assert not FOREIGN.search(str(caught.value))


@pytest.mark.parametrize("formula", ["k*bs(x, df=4)", "x:bs(two, df=4)", "bs(x, df=4)/k", "(x + bs(x, df=3)):k"])
def test_a_spline_in_a_product_is_refused_with_the_cure(formula, frame):
    with pytest.raises(FormulaError, match=r"cannot be multiplied by other.*write \(bs\(x, df=4\) \| k\)") as caught:
        learn(formula, frame)
    assert not FOREIGN.search(str(caught.value))


ALLOWED = {
    "poly(two, 1)": ["poly(two, 1)"],
    "poly(two, 2, raw=True)": ["poly(two, 2, raw=True)[0]", "poly(two, 2, raw=True)[1]"],
    "T(rank, 3)": ["T(rank, 3)[1]", "T(rank, 3)[2]"],
    "T(k, ref='q')": ["T(k, ref='q')[p]", "T(k, ref='q')[r]"],
    "C(k, Treatment(reference='r'))": ["C(k, Treatment(reference='r'))[p]", "C(k, Treatment(reference='r'))[q]"],
    "C(yes)": ["C(yes)[True]"],
    "log(exp(yes))": ["log(exp(yes))"],
    "bs(x, df=1, degree=1)": ["bs(x, df=1, degree=1)"],
    "{k == 'p'}": ["I(k == 'p')"],
}


@pytest.mark.parametrize(("formula", "names"), ALLOWED.items())
def test_a_call_that_can_be_learned_is(formula, names, frame):
    assert learn(formula, frame)[0].common_names == tuple(names)
