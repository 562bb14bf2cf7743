"""What Hypothesis draws: texts, formulas, labels, frames, and rows in parts."""

import string

import numpy as np
import pandas as pd
from hypothesis import strategies as st

_PIECES = (
    *("x", "z", "y", "g", "h", "`a b`", "x.y", "é", "_", "1", "0", "2.", ".5", "1e3", "1e400", "٣", "'a'", '"b"', "\n"),
    *("+", "-", "*", "/", ":", "**", "|", "||", "~", "(", ")", "{", "}", ",", "=", "==", "<", "%in%", "^", ".", " "),
    *("log(", "np.log(", "C(", "T(", "poly(", "offset(", "bs(", "Treatment", "Sum", "True", "None"),
)
_TERMS = ("x", "z", "1", "0", "`a b`", "log(x)", "{x + 1}", "{x ** 2 > .5e-1}", "poly(x, 2)", "C(k, Sum)", 'T(k, "b")')
_FACTORS = ("g", "g/h", "h:g", "g + h", "g*h", "(g + h)/k", "C(g)", "`a b`")


def texts():
    """Any text; and what a formula is made of, in any order."""
    pieces = st.lists(st.sampled_from(_PIECES), max_size=14)
    return st.one_of(st.text(), pieces.map("".join), pieces.map(" ".join))


def formulas():
    """Texts by the grammar; a few of them are refused all the same."""

    def larger(inner):
        bar = st.tuples(inner, st.sampled_from(["|", "||"]), st.sampled_from(_FACTORS))
        return st.one_of(
            st.tuples(inner, st.sampled_from("+-*/:"), inner).map(" ".join),
            inner.map("({})".format),
            bar.map(lambda parts: "({} {} {})".format(*parts)),
        )

    right = st.recursive(st.sampled_from(_TERMS), larger, max_leaves=6)
    return st.one_of(right, right.map("y ~ {}".format), right.map("~{}".format))


_TEXTS = st.one_of(
    st.text(max_size=4), st.sampled_from(["i:1", "b:True", "d:0", "f:0.5", '["i:1"]', "1", "True", "nan"])
)
LABELS = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "str": _TEXTS,
    "datetime": st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2250-01-01")).map(np.datetime64),
}
NUMBERS = st.floats(allow_nan=False)


def labels():
    """Labels of one column, or of several in a tuple."""
    scalars = st.one_of(NUMBERS, *LABELS.values())
    return st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3).map(tuple))


@st.composite
def columns_of_labels(draw, n, kinds=tuple(LABELS)):
    """A column of n labels of one type, two levels at least, each in its turn; n >= 5."""
    one_type = LABELS[draw(st.sampled_from(kinds))]
    levels = draw(st.lists(one_type, min_size=2, max_size=5, unique=True))
    values = pd.Series(levels)
    return values.iloc[np.arange(n) % len(levels)].reset_index(drop=True)


@st.composite
def frames(draw, n=24):
    """Columns for `FORMULAS`: numbers x and z > 0, text k, two factors g and h of labels of any type, a response y."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale, origin = 10.0 ** draw(st.integers(-3, 3)), draw(st.integers(-9, 9))
    letters = draw(st.permutations(string.ascii_lowercase[:3]))
    frame = {
        "x": scale * (origin + rng.normal(size=n)),
        "z": rng.uniform(0.1, 3, n),
        "k": rng.permutation(np.resize(letters, n)),
        "g": rng.permutation(draw(columns_of_labels(n))),
        "h": draw(columns_of_labels(n)),
        "y": rng.normal(origin, scale, n),
    }
    return pd.DataFrame(frame)


_COMMON = ("1", "0 + k", "x*k", "x + z", "scale(x) + center(z)", "poly(x, 2)", "bs(x, df=4)", "offset(z) + C(k, Sum)")
_BARS = (
    "(1 | g)",
    "(x || g)",
    "(x + z | h)",
    "(k | g)",
    "(1 | g) + (0 + z | g)",
    "(1 | g) + (1 | h)",
    "(scale(z) | h)",
)


def models():
    """Formulas that fit every one of `frames`."""
    bars = st.one_of(st.just(""), st.sampled_from(_BARS).map(" + {}".format))
    return st.tuples(st.sampled_from(_COMMON), bars).map("".join)


def weights(n):
    """Frequency weights of n rows, or None."""
    return st.one_of(st.none(), st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=n, max_size=n).map(np.array))


def parts(n, at_most=4):
    """The rows 0 to n - 1 in up to `at_most` parts, some of them empty, in any order."""
    of_row = st.lists(st.integers(0, at_most - 1), min_size=n, max_size=n).map(np.array)
    return of_row.map(lambda part: [np.flatnonzero(part == i) for i in range(at_most)])
