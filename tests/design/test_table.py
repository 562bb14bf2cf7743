"""A table: columns in few types, read once, whatever number of terms and bars uses them."""

import datetime
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import bayesmixed.design.table as table_module
from bayesmixed.design.labels import Labels
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse

FRAME = pd.DataFrame(
    {
        "x": [1, 2, 4, 3, 0, 5],
        "k": pd.Categorical(list("cabcab"), categories=["c", "unused", "a", "b"]),
        "g": [3, 1, 3, 2, 1, 2],
        "unread": [object()] * 6,
    }
)


def test_columns_come_in_few_types():
    table = Table.read(FRAME, ("x", "k"), ("g", "k"))

    assert table.n_rows == 6
    assert table.values("x").dtype == float
    assert table.values("k").tolist() == list("cabcab")
    assert table.frame(("k",))["k"].tolist() == list("cabcab")
    assert table.frame(("k",), learning=True)["k"].cat.categories.tolist() == ["c", "a", "b"]
    assert {name: labels.distinct.tolist() for name, labels in table.labels.items()} == {
        "g": [3, 1, 2],
        "k": ["c", "a", "b"],
    }


def test_the_rows_of_infinite_categories_are_counted():
    frame = pd.DataFrame({"k": pd.Categorical([1.0, np.inf, np.inf])})

    with pytest.raises(ValueError, match=r"column 'k' has 2 infinite values \(inf\) in 3 rows"):
        Table.read(frame, ("k",))


@pytest.mark.parametrize("values", [["b", "a", "b", "c"], [None, "c", "a", "c"], [np.nan] * 4, []])
def test_labels_of_a_categorical_by_appearance_are_those_of_its_values(values):
    categories = pd.CategoricalDtype(["d", "a", "b", "c"])
    ordered = Labels.of(pd.Series(values, dtype=categories, name="k"))
    codes, distinct = ordered.by_appearance
    expected = Labels.of(pd.Series(values, dtype=object, name="k"))

    assert codes.tolist() == expected.codes.tolist()
    assert distinct.tolist() == expected.distinct.tolist()
    assert ordered.distinct.tolist() == sorted(expected.distinct.tolist())


def test_learning_a_design_reads_each_column_once_per_use(monkeypatch):
    read: Counter = Counter()
    typed, coded = table_module._read, Labels.of
    monkeypatch.setattr(table_module, "_read", lambda column, name, *others: read.update([name]) or typed(column, name))
    monkeypatch.setattr(Labels, "of", lambda column: read.update([column.name]) or coded(column))
    frame = FRAME.assign(h=list("uvuvuv"))

    spec, _ = DesignSpec.learn(parse("x*k + (x | g) + (0 + k | g) + (x || h) + (1 | g:h)"), frame)
    assert read == {"x": 1, "k": 1, "g": 1, "h": 1}
    spec.apply(frame)
    assert read == {"x": 2, "k": 2, "g": 2, "h": 2}


# ---- categories of whatever kind

DAYS = pd.to_datetime(["2024-03-01", "2023-05-01", "2024-01-02"])
KINDS = {
    "intervals of pd.cut": (pd.cut([1.0, 5.0, 9.0] * 8, [0, 3, 6, 10]), ["(0, 3]", "(3, 6]", "(6, 10]"]),
    "intervals of pd.qcut": (pd.qcut([1.0, 5.0, 9.0] * 8, 3, precision=1), ["(0.9, 3.7]", "(3.7, 6.3]", "(6.3, 9.0]"]),
    "intervals closed at the left": (pd.cut([1, 5, 9] * 8, [0, 5, 10], right=False), ["[0, 5)", "[5, 10)"]),
    "timestamps": (
        pd.Categorical(DAYS.repeat(8), DAYS),
        ["2024-03-01 00:00:00", "2023-05-01 00:00:00", "2024-01-02 00:00:00"],
    ),
    "timestamps of a zone": (
        pd.Categorical(DAYS.tz_localize("Europe/Berlin").repeat(8)),
        ["2023-05-01 00:00:00+02:00", "2024-01-02 00:00:00+01:00", "2024-03-01 00:00:00+01:00"],
    ),
    "dates": (pd.Categorical(list(DAYS.date) * 8), ["2023-05-01", "2024-01-02", "2024-03-01"]),
    "periods": (pd.Categorical(DAYS.to_period("Q").repeat(8)), ["2023Q2", "2024Q1"]),
    "durations": (pd.Categorical(pd.to_timedelta([36, 1, 1] * 8, unit="h")), ["0 days 01:00:00", "1 days 12:00:00"]),
    "times of day": (pd.Categorical([datetime.time(9), datetime.time(8)] * 12), ["08:00:00", "09:00:00"]),
    "mixed objects": (pd.Categorical([1, "a", 2.5] * 8, ["a", 2.5, 1]), ["a", "2.5", "1"]),
    "booleans and text": (pd.Categorical([True, "n/a"] * 12, ["n/a", True]), ["n/a", "True"]),
    "tuples": (pd.Series([("b", 1), ("a", 2)] * 12).astype("category"), ["a:2", "b:1"]),
    "complex numbers": (pd.Categorical([1j, 2j] * 12, [2j, 1j]), ["2j", "1j"]),
    "bytes": (pd.Categorical([b"x", b"y"] * 12), ["b'x'", "b'y'"]),
}


def with_category(values):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"c": values, "x": rng.normal(size=24), "g": list("uvw") * 8})


@pytest.mark.parametrize("kind", KINDS)
def test_any_categorical_is_a_category_with_its_text_in_its_order(kind):
    values, texts = KINDS[kind]
    frame = with_category(values)
    spec, design = DesignSpec.learn(parse("c + x:c + (c | g)"), frame)
    as_text = frame.assign(c=pd.Categorical.from_codes(pd.Categorical(values).codes, texts))
    expected, of_text = DesignSpec.learn(parse("c + x:c + (c | g)"), as_text)

    assert spec.common_names[: len(texts) - 1] == tuple(f"c[{text}]" for text in texts[1:])
    assert spec.groups[0].effect_names == ("Intercept", *(f"c[{text}]" for text in texts[1:]))
    assert spec.state == expected.state
    np.testing.assert_array_equal(design.X, of_text.X)
    np.testing.assert_array_equal(design.groups[0].Z, of_text.groups[0].Z)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("formula", ["c", "C(c)", "S(c)", "x*c + (0 + c | g)"])
def test_a_category_of_any_kind_survives_json_and_meets_other_orders_and_unused_ones(kind, formula):
    frame = with_category(KINDS[kind][0])
    spec, design = DesignSpec.learn(parse(formula), frame)
    again = DesignSpec.from_state(json.loads(json.dumps(spec.state)))
    column = frame["c"].astype("category")

    assert again.state == spec.state
    reversed_order = column.cat.reorder_categories(column.cat.categories[::-1])
    some = frame.assign(c=reversed_order).iloc[[4, 0, 8]]
    for new, rows in [(frame, slice(None)), (frame.assign(c=reversed_order), slice(None)), (some, [4, 0, 8])]:
        np.testing.assert_array_equal(again.apply(new).X, design.X[rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "new", [["another"] * 24, pd.cut([1.0, 2.0] * 12, [0.5, 1.5, 2.5]), DAYS.repeat(8).shift(freq="D")]
)
def test_a_category_of_any_kind_that_fit_has_not_seen_is_refused(kind, new):
    frame = with_category(KINDS[kind][0])
    spec, _ = DesignSpec.learn(parse("c"), frame)

    with pytest.raises(FormulaError, match=r"'c' has levels not seen in fit: .*known levels: "):
        spec.apply(frame.assign(c=pd.Categorical(new)))


def test_numbers_that_are_categories_stay_numbers_beside_unused_ones():
    frame = pd.DataFrame({"c": pd.Categorical([3, 1, 3, 2], [9, 3, 2, 1])})

    assert Table.read(frame, ("c",)).columns["c"].levels.tolist() == [3.0, 2.0, 1.0]
    assert Table.read(frame.iloc[:2], ("c",)).columns["c"].levels.tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pd.Categorical([1, "1"]), "'1'"),
        (pd.Series([("a:b", "c"), ("a", "b:c")]).astype("category"), "'a:b:c'"),
        (pd.Categorical([True, "True"]), "'True'"),
        (pd.Categorical([2.5, "2.5", "x"]), "'2.5'"),
        (pd.Categorical([datetime.date(2024, 1, 1), "2024-01-01"]), "'2024-01-01'"),
    ],
)
def test_categories_with_one_text_are_refused(values, text):
    with pytest.raises(FormulaError, match=f"'c' has different categories with the same text, {text}"):
        Table.read(pd.DataFrame({"c": values}), ("c",))
