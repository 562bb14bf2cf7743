"""Which columns a formula seems to mean that it has not quoted."""

import pytest

from bayesmixed.formula.names import cure_of_names

MEANT = {
    ("blood pressure + x", "blood pressure"): (),
    ("x + (blood   pressure | g)", "blood pressure"): (),
    ("log(Blood Pressure)", "blood pressure"): (),
    ("2nd", "2nd"): (),
    ("T-score", "T-score"): ("T", "score"),
    ("T - score + x", "T-score"): ("T", "score"),
    ("height(m) * x", "height (m)"): (),
    ("height", "height (m)"): ("height",),
    ("p/q:x", "p/q"): ("p", "q"),
    ("temp°C", "temp°C"): (),
    ("_id", "_id"): (),
    ("$ paid", "$ paid"): (),
    ("x[1]", "x[1]"): (),
    ("y.z + blood_pressure", "blood pressure"): ("blood_pressure",),
    ("blood.pressure", "blood pressure"): ("blood.pressure",),
    ("age", " age"): ("age",),
    ("age", "age "): ("age",),
    ("99% limit", "99% limit"): (),
    ("x", "a`b"): ("a.b",),
}


@pytest.mark.parametrize(("formula", "name", "absent"), [(*key, absent) for key, absent in MEANT.items()])
def test_a_column_that_stands_in_the_formula_without_quotes_is_named(formula, name, absent):
    cure = cure_of_names(formula, ["x", "g", name, "other thing"], absent)

    assert repr(name) in cure
    assert f"backquotes: `{name}`" in cure or ("`" in name and "rename" in cure)
    assert "other thing" not in cure


@pytest.mark.parametrize(
    ("formula", "columns", "absent"),
    [
        ("x + z", ["x", "body mass"], ("z",)),
        ("`body mass` + z", ["x", "body mass"], ("z",)),
        ("bodymass", ["body mass"], ()),
        ("massage", ["body mass", "mass age"], ("massage",)),
        ("x +", ["x", "+"], ()),
        ("z", [], ("z",)),
        ("z z", ["z", "weight.kg", "größe"], ()),
    ],
)
def test_nothing_is_said_where_no_column_is_meant(formula, columns, absent):
    assert cure_of_names(formula, columns, absent) == ""


def test_of_two_names_the_longer_one_is_meant():
    cure = cure_of_names("body mass index + x", ["mass index", "body mass", "body mass index"])

    assert cure.startswith("X has the column 'body mass index'. ")


def test_several_columns_are_named():
    cure = cure_of_names("a b + c d", ["a b", "c d", "e f"])

    assert "the columns 'a b', 'c d'" in cure
    assert "`a b`, `c d`" in cure


@pytest.mark.parametrize(
    ("columns", "absent", "cure"),
    [
        ([0, 1], ("x0",), r"X.columns = X.columns.astype(str)"),
        (["x", 2020], (), r"X.columns = X.columns.astype(str)"),
        ([1.5, "x"], ("z",), r"X.columns = X.columns.astype(str)"),
        ([("a", "x"), ("a", "y")], ("x",), "[' '.join(map(str, name)) for name in X.columns]"),
        ([None, "x"], ("z",), r"X.columns = X.columns.astype(str)"),
    ],
)
def test_names_that_are_no_text_are_made_text(columns, absent, cure):
    assert cure in cure_of_names("x + 2020", columns, absent)
