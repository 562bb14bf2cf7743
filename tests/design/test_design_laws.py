"""Laws of levels and designs: keys tell labels apart, and state is all that a design has learned."""

import json
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmixed.design.labels import Labels, label_key
from bayesmixed.design.levels import ColumnLevels, FactorLevels
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse
from helpers.strategies import columns_of_labels, frames, labels, models, weights
from helpers.twins import code_by_dict


def is_same(a, b):
    """Whether two labels are one: numbers by value, all else of one type."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    kinds = ["number" if type(label) in (int, float) else type(label) for label in (a, b)]
    return kinds[0] == kinds[1] and bool(a == b)


@given(labels(), labels())
def test_labels_have_one_key_if_and_only_if_they_are_one(a, b):
    assert (label_key(a) == label_key(b)) == is_same(a, b)


@given(st.lists(labels(), max_size=8))
def test_there_are_as_many_keys_as_labels(given_labels):
    distinct = [a for i, a in enumerate(given_labels) if not any(is_same(a, b) for b in given_labels[:i])]

    assert len({label_key(label) for label in given_labels}) == len(distinct)


@settings(max_examples=40)
@given(columns_of_labels(12), columns_of_labels(12))
def test_new_rows_are_coded_as_a_dictionary_would(fitted, new):
    levels, codes = ColumnLevels.learn(Labels.of(fitted))
    known = list(levels.labels) if levels.kind == "datetime" else levels.labels.tolist()
    found, labels_of_new = levels.code(Labels.of(new))

    assert [label_key(known[code]) for code in codes] == [label_key(value) for value in fitted]
    expected, new_labels = code_by_dict(known, list(new) if new.dtype.kind != "M" else list(new.to_numpy()))
    assert found.tolist() == expected
    assert list(map(label_key, labels_of_new)) == list(map(label_key, new_labels))


@settings(max_examples=40)
@given(st.integers(1, 2).flatmap(lambda k: st.tuples(*2 * k * [columns_of_labels(10)])))
def test_levels_come_back_from_their_state(columns):
    names = tuple("abcd"[: len(columns) // 2])
    frames_of = (pd.DataFrame(dict(zip(names, of, strict=True))) for of in (columns[::2], columns[1::2]))
    fitted, new = (Table.read(frame, labels=names) for frame in frames_of)
    try:
        levels, _ = FactorLevels.learn(fitted, names)
    except FormulaError:  # a colon in a label: two levels of a:b have one text
        assert len(names) > 1
        return
    again = FactorLevels.from_state(json.loads(json.dumps(levels.state)))

    assert again.labels.tolist() == levels.labels.tolist()
    assert again.labels.dtype.kind == levels.labels.dtype.kind
    for rows in (fitted, new):
        codes, new_labels = levels.code(rows)
        same_codes, same_labels = again.code(rows)
        assert same_codes.tolist() == codes.tolist()
        assert same_labels == new_labels


def assert_same_design(a, b):
    """Bit by bit."""
    np.testing.assert_array_equal(a.X, b.X, strict=True)
    np.testing.assert_array_equal(a.response if a.y is not None else a.offset, b.offset if b.y is None else b.response)
    assert (a.common_names, a.common_terms, a.contains) == (b.common_names, b.common_terms, b.contains)
    for mine, other in zip(a.groups, b.groups, strict=True):
        np.testing.assert_array_equal(mine.Z, other.Z, strict=True)
        np.testing.assert_array_equal(mine.codes, other.codes)
        assert (mine.levels.tolist(), mine.effect_names, mine.blocks) == (
            other.levels.tolist(),
            other.effect_names,
            other.blocks,
        )


@settings(max_examples=20)
@given(models(), frames(), frames(), weights(24))
def test_a_design_comes_back_from_its_state(formula, frame, other, counts):
    spec, design = DesignSpec.learn(parse(formula), frame, weights=counts)
    again = DesignSpec.from_state(json.loads(json.dumps(spec.state)))
    new = other.assign(g=frame["g"].to_numpy(), x=frame["x"].to_numpy()[::-1])  # within the knots

    assert again.state == spec.state
    assert_same_design(again.apply(frame), design)
    assert_same_design(again.apply(new), spec.apply(new))


@pytest.mark.parametrize(("label", "text"), [(date(2020, 1, 1), "2020-01-01"), (Decimal(1), "1")])
def test_a_label_beside_a_boolean_is_not_the_text_of_it(label, text):
    """They were one level, without a word."""
    column = pd.Series([True, label, text], dtype=object)
    with pytest.raises(FormulaError, match="different labels with the same text"):
        ColumnLevels.learn(Labels.of(column))

    assert ColumnLevels.learn(Labels.of(column[:2]))[0].labels.tolist() == sorted(["True", text])
