"""What calls learn of all rows, and may be told: moments and levels; what more they learn is said."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed.formula.known import calls_not_told, calls_of_moments, columns_of_levels, told
from bayesmixed.formula.terms import evaluate, evaluate_call, learn_terms, restore_calls


@pytest.mark.parametrize(
    ("text", "moments", "more", "levels"),
    [
        ("x + k", {}, [], ()),
        ("scale(x) + center(log(z)):k", {"x": ("x",), "log(z)": ("z",)}, [], ()),
        ("standardize(x + z) + log(scale(x=z) + 3)", {"x + z": ("x", "z"), "z": ("z",)}, [], ()),
        ("scale(center(x))", {"x": ("x",)}, ["scale(center(x))"], ()),
        ("bs(x, df=5) + poly(z, 2) + poly(z, 2, raw=True)", {}, ["bs(x, df=5)", "poly(z, 2)"], ()),
        ("C(k) + T(h, 'a') + S(j) + C(floor(x))", {}, [], ("k", "h", "j")),
        ("C(k, Treatment('b')):scale(`a b`)", {"a b": ("a b",)}, [], ("k",)),
    ],
)
def test_calls_say_what_they_learn(text, moments, more, levels):
    assert {name: columns for name, (_, columns) in calls_of_moments(text).items()} == moments
    assert calls_not_told(text) == more
    assert columns_of_levels(text) == levels


def test_a_call_that_is_told_moments_is_one_that_has_learned_them():
    frame = pd.DataFrame({"x": [1.0, 4.0, 7.0, 3.5], "z": [2.0, 2.5, 9.0, 4.0]})
    text = "log(scale(x) + 5) + center(x):standardize(log(z)) + poly(z, 2, raw=True)"
    terms = [component for term in learn_terms(text, frame)[1] for component in term]
    other = [component for term in learn_terms(text, frame[:3])[1] for component in term]
    moments = {}
    for name, (node, _) in calls_of_moments(text).items():
        values = evaluate(node, frame)
        moments[name] = float(np.mean(values)), float(np.std(values))
    found = [told(component, text, moments) for component in other]

    assert found != other
    for mine, theirs in zip(found, terms, strict=True):
        a, b = (restore_calls(text, [one], "0") for one in (mine, theirs))
        for call in a:
            values = [np.asarray(evaluate_call(one[call], call, frame)) for one in (a, b)]
            np.testing.assert_allclose(*values, rtol=1e-13)
