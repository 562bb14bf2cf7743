"""Levels of parts become those of all rows, in the order in which a fit of all rows has them."""

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmixed.design.labels import Labels
from bayesmixed.design.levels import ColumnLevels, FactorLevels
from bayesmixed.design.summed.levels import joined, refuse_levels, relabelled, selected
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError
from helpers.strategies import columns_of_labels, parts


def learned(frame):
    return FactorLevels.learn(Table.read(frame, (), tuple(frame)), tuple(frame))


def join_all(frame, rows, orders):
    """Levels of the parts joined one after the other, and each row's code."""
    found = [(learned(frame.iloc[at]), at) for at in rows if len(at)]

    def plus(a, b):
        (mine, codes), at = a
        (theirs, others), more = b
        levels, place, other = joined(mine, theirs, orders)
        return (levels, np.concatenate([place[codes], other[others]])), np.concatenate([at, more])

    (levels, codes), at = reduce(plus, found)
    return levels, codes[np.argsort(at)]


def assert_levels_of_all(frame, rows, orders=None):
    levels, codes = join_all(frame, rows, orders or {})
    whole, expected = learned(frame)
    np.testing.assert_array_equal(levels.labels, whole.labels)
    np.testing.assert_array_equal(codes, expected)
    assert [part.kind for part in levels.parts] == [part.kind for part in whole.parts]


@pytest.mark.filterwarnings("ignore:All labels of")  # of texts that are blanks
@given(columns_of_labels(24), columns_of_labels(24), parts(24))
def test_levels_of_parts_are_those_of_all_rows(g, h, rows):
    frame = pd.DataFrame({"g": g, "h": h})
    assert_levels_of_all(frame[["g"]], rows)
    assert_levels_of_all(frame, rows)


@given(st.lists(st.integers(0, 5), min_size=8, max_size=30), st.randoms())
def test_a_categorical_keeps_its_order_whichever_part_has_what(values, random):
    categories = ["s", "m", "l", "xl", "xs", "xxl"]
    random.shuffle(categories)
    frame = pd.DataFrame({"g": pd.Categorical.from_codes(values, categories)})
    halves = [np.arange(0, len(frame), 2), np.arange(1, len(frame), 2)]
    assert_levels_of_all(frame, halves, {"g": np.array(categories)})


def test_integers_beside_floats_become_floats():
    a, b = (ColumnLevels.learn(Labels.of(pd.Series(v, name="g")))[0] for v in ([3, 1], [2.0, 1.0]))
    levels, place, other = joined(*(FactorLevels(("g",), (own,), np.arange(2)[:, None]) for own in (a, b)), {})

    assert levels.labels.tolist() == [1.0, 2.0, 3.0]
    assert levels.parts[0].kind == "float"
    assert (place.tolist(), other.tolist()) == ([0, 2], [0, 1])


@pytest.mark.parametrize("large", [2**53, 2**60, -(2**60)])
def test_integers_that_are_no_floats_are_refused_beside_floats(large):
    """As floats several of them would be one, and all sums but one of theirs lost."""
    a, b = (learned(pd.DataFrame({"g": values}))[0] for values in (large + np.arange(4), [1.0, 2.0]))
    for one in (lambda: joined(a, b, {}), lambda: joined(b, a, {}), lambda: refuse_levels(a, b)):
        with pytest.raises(FormulaError, match=rf"cannot distinguish integers as large as {large};"):
            one()
    assert len(joined(a, a, {})[0].labels) == 4


def test_labels_of_different_types_are_refused():
    a, b = (learned(pd.DataFrame({"g": values}))[0] for values in ([1, 2], ["1", "2"]))
    with pytest.raises(FormulaError, match=r"column 'g' holds int labels in one part \(such as '1'\) and str"):
        joined(a, b, {})


@pytest.mark.parametrize(
    ("first", "second"), [("12", ["1.0", "3.0"]), ("ab", ["a ", "c"]), ([" a"], "ab"), ("1", ["1 "])]
)
def test_labels_that_are_new_only_by_how_they_are_written_are_named(first, second):
    """One level would count as two, each with a part of its rows."""
    a, b = (learned(pd.DataFrame({"g": list(values)}))[0] for values in (first, second))
    for one, other in ((a, b), (b, a)):
        with pytest.warns(UserWarning, match="differs from the earlier label .* only in how it is written"):
            joined(one, other, {})


@pytest.mark.parametrize(("first", "second"), [("ab", "cd"), (["1.0", "2.0"], ["3.0"]), (["1", "1.0"], ["1.0"])])
def test_labels_of_their_own_are_joined_in_silence(first, second):
    """Warnings are errors here."""
    a, b = (learned(pd.DataFrame({"g": list(values)}))[0] for values in (first, second))

    joined(a, b, {})


def test_levels_of_two_columns_with_one_text_are_refused_when_they_meet():
    a = learned(pd.DataFrame({"g": ["a:b", "z"], "h": ["c", "c"]}))[0]
    b = learned(pd.DataFrame({"g": ["a", "z"], "h": ["b:c", "c"]}))[0]
    with pytest.raises(FormulaError, match="two levels have the same text"):
        joined(a, b, {})


def test_some_levels_are_those_of_their_rows():
    frame = pd.DataFrame({"g": list("abcab"), "h": [1, 1, 2, 2, 2]})
    levels, codes = learned(frame)
    at = np.unique(codes[[1, 4]])

    np.testing.assert_array_equal(selected(levels, at).labels, learned(frame.iloc[[1, 4]])[0].labels)


def test_new_labels_of_a_column_are_those_of_renamed_rows():
    frame = pd.DataFrame({"g": list("abcab"), "h": [1, 1, 2, 2, 2]})
    levels, codes = learned(frame)
    new = {"a": "z", "b": "x", "c": "y"}
    labels = ColumnLevels(np.array([new[label] for label in levels.parts[0].labels]), "str")
    found, place = relabelled(levels, "g", labels)
    expected, expected_codes = learned(frame.assign(g=frame["g"].map(new)))

    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(place[codes], expected_codes)
