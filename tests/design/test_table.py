"""A table: columns in few types, read once, whatever number of terms and bars uses them."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

import bayesmixed.design.table as table_module
from bayesmixed.design.labels import Labels
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import Table
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
    monkeypatch.setattr(table_module, "_read", lambda column, name: read.update([name]) or typed(column, name))
    monkeypatch.setattr(Labels, "of", lambda column: read.update([column.name]) or coded(column))
    frame = FRAME.assign(h=list("uvuvuv"))

    spec, _ = DesignSpec.learn(parse("x*k + (x | g) + (0 + k | g) + (x || h) + (1 | g:h)"), frame)
    assert read == {"x": 1, "k": 1, "g": 1, "h": 1}
    spec.apply(frame)
    assert read == {"x": 2, "k": 2, "g": 2, "h": 2}
