"""Levels of a grouping factor: which labels are equal, in what order they come, what is new."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from bayesmixed.design.labels import Labels, label_key, label_text
from bayesmixed.design.levels import ColumnLevels, FactorLevels
from bayesmixed.design.table import Table
from bayesmixed.errors import FormulaError
from helpers.twins import code_by_dict

DAY = np.datetime64("2024-01-01", "ns")
ZONED = pd.to_datetime(["2024-01-01", "2024-02-01"], utc=True)
# spellings of one label per row; labels of different rows differ
EQUAL_LABELS = [
    [308, 308.0, np.int64(308), np.uint8(52) + np.int64(256), np.float32(308)],
    ["308", np.str_("308")],
    [308.5, np.float64(308.5)],
    [0, 0.0, -0.0],
    [1, 1.0],
    ["1"],
    [True, np.True_],
    [False, np.False_],
    ["True"],
    ["i:1"],
    ["b:True"],
    [DAY, np.datetime64("2024-01-01", "D"), pd.Timestamp("2024-01-01")],
    [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01 09:00", tz="Asia/Tokyo")],
    [np.datetime64("2024-01-02", "ns")],
    ["2024-01-01"],
    [("a", 1), ("a", 1.0), (np.str_("a"), np.int64(1))],
    [("a", "1")],
    [("a:1",)],
    [("a", True)],
    ["a:1"],
    [""],
]


def test_equal_labels_have_equal_keys_and_different_labels_different_ones():
    keys = [{label_key(label) for label in spellings} for spellings in EQUAL_LABELS]

    assert all(len(key) == 1 for key in keys)
    assert all(a.isdisjoint(b) for a, b in combinations(keys, 2))


@pytest.mark.parametrize(("label", "text"), [("a", "a"), (3, "3"), (("a", 3), "a:3"), (("x", "y", True), "x:y:True")])
def test_a_label_is_written_as_its_parts_joined_by_colons(label, text):
    assert label_text(label) == text


def learned(values, **options):
    levels, codes = ColumnLevels.learn(Labels.of(pd.Series(values, name="g", **options)))
    return levels.kind, levels.labels.tolist(), codes.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b"], ("str", ["a", "b"], [1, 0, 1])),
        (pd.Series(["b", "a"], dtype="string"), ("str", ["a", "b"], [1, 0])),
        (["10", "9", "2"], ("str", ["10", "2", "9"], [0, 2, 1])),
        ([10, 9, 2, 9], ("int", [2, 9, 10], [2, 1, 0, 1])),
        (pd.Series([3, 1], dtype="Int64"), ("int", [1, 3], [1, 0])),
        (pd.Series([3, 1], dtype="object"), ("int", [1, 3], [1, 0])),
        (pd.Series([3, 1], dtype="uint8"), ("int", [1, 3], [1, 0])),
        ([3.0, -1.0, 3.0], ("float", [-1.0, 3.0], [1, 0, 1])),
        ([True, False, True], ("bool", [False, True], [1, 0, 1])),
        (pd.Series([True, False], dtype="boolean"), ("bool", [False, True], [1, 0])),
        (pd.Series([True, False], dtype="object"), ("bool", [False, True], [1, 0])),
        # a Categorical keeps its order and drops what no row has
        (pd.Categorical(["lo", "hi"], ["lo", "mid", "hi"]), ("str", ["lo", "hi"], [0, 1])),
        (pd.Categorical(["lo", "hi"], ["hi", "lo"], ordered=True), ("str", ["hi", "lo"], [1, 0])),
        (pd.Categorical([1, 3, 1], [3, 2, 1]), ("int", [3, 1], [1, 0, 1])),
        (pd.Categorical([True, False], [True, False]), ("bool", [True, False], [0, 1])),
        # what is known by its text is ordered by it, whatever comes first
        (pd.Series(["b", 1, "a"], dtype="object"), ("other", ["1", "a", "b"], [2, 0, 1])),
        (pd.Series([(2, 1), (1, 2)]), ("other", ["(1, 2)", "(2, 1)"], [1, 0])),
    ],
)
def test_levels_are_sorted_unless_they_have_an_order(values, expected):
    assert learned(values) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_are_levels_in_any_resolution(unit):
    dates = pd.Series(np.array(["2024-05-01", "2023-01-01"], dtype=f"datetime64[{unit}]"), name="g")
    levels, codes = ColumnLevels.learn(Labels.of(dates))

    assert levels.kind == "datetime"
    assert levels.labels.dtype == "datetime64[ns]"
    assert levels.labels.astype(str).tolist() == ["2023-01-01T00:00:00.000000000", "2024-05-01T00:00:00.000000000"]
    assert codes.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], "'g' has fractional labels, such as 0.5"),
        (pd.Categorical([1.5, 2.5]), "'g' has fractional labels, such as 1.5"),
        (pd.Series([1, "1"], dtype="object"), "'g' has different labels with the same text, '1'"),
        (pd.Categorical([1, "1"], [1, "1"]), "different labels with the same text"),
    ],
)
def test_labels_that_name_no_level_are_refused(values, message):
    with pytest.raises(FormulaError, match=message):
        learned(values)


def test_true_is_not_one_even_in_one_column():
    kind, labels, codes = learned([True, 1, 2, True], dtype="object")

    assert kind == "other"
    assert [labels[code] for code in codes] == ["True", "1", "2", "True"]


@pytest.mark.parametrize(("big", "dtype"), [([2**63 + 5, 7], "uint64"), ([2**70, 7], "object")])
def test_integers_beyond_64_bits_keep_their_text(big, dtype):
    _, labels, codes = learned(big, dtype=dtype)

    assert [str(labels[code]) for code in codes] == [str(label) for label in big]


def test_durations_and_instants_are_levels_whatever_their_unit_or_zone():
    days = pd.Series(pd.to_timedelta([1, 2, 1], unit="D"))
    levels, _ = ColumnLevels.learn(Labels.of(days))
    assert levels.code(Labels.of(days.astype("timedelta64[ns]")))[0].tolist() == [0, 1, 0]
    utc = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True))
    levels, _ = ColumnLevels.learn(Labels.of(utc))
    assert levels.code(Labels.of(utc.dt.tz_convert("Asia/Tokyo")))[0].tolist() == [0, 1]


def test_dates_beyond_the_range_of_nanoseconds_keep_their_text():
    far = pd.Series(np.array(["2500-01-01", "9999-12-31"], dtype="datetime64[s]"))
    levels, codes = ColumnLevels.learn(Labels.of(far))

    assert [str(levels.labels[code])[:10] for code in codes] == ["2500-01-01", "9999-12-31"]


RANDOM_COLUMNS = {
    "int": lambda rng, n: pd.Series(rng.integers(-5, 6, n)),
    "float": lambda rng, n: pd.Series(rng.integers(-5, 6, n).astype(float)),
    "str": lambda rng, n: pd.Series(rng.choice(list("abcdefgh"), n)),
    "bool": lambda rng, n: pd.Series(rng.random(n) < 0.5),
    "datetime": lambda rng, n: pd.Series(DAY + rng.integers(0, 9, n) * np.timedelta64(1, "D")),
    "other": lambda rng, n: pd.Series([(int(i),) for i in rng.integers(0, 9, n)]),
}


def with_gaps(column, rng):
    """The column with a third of its labels missing, in a type that can hold both."""
    column = column.astype(object) if column.dtype.kind == "b" else column
    return column.mask(rng.random(len(column)) < 1 / 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", RANDOM_COLUMNS)
def test_coding_equals_the_dictionary_twin(kind, seed):
    rng = np.random.default_rng(seed)
    make = RANDOM_COLUMNS[kind]
    train, new = make(rng, 4), with_gaps(make(rng, 40), rng)
    levels, train_codes = ColumnLevels.learn(Labels.of(train))
    codes, new_labels = levels.code(Labels.of(new))
    as_label = str if kind == "other" else lambda label: label
    known = [as_label(label) for label in sorted(set(train))]

    assert levels.kind == kind
    assert levels.labels[train_codes].tolist() == [*map(as_label, train.to_numpy().tolist())]
    expected_codes, expected_new = code_by_dict(known, [label if pd.isna(label) else as_label(label) for label in new])
    assert codes.tolist() == expected_codes
    assert [*map(label_key, new_labels)] == [*map(label_key, expected_new)]


def test_text_that_reads_like_a_missing_label_is_a_label():
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(["a", "", "nan", "None"])))
    codes, new = levels.code(Labels.of(pd.Series(["nan", None, "", np.nan, "None", pd.NA], dtype=object)))

    assert codes.tolist() == [3, -1, 0, -1, 1, -1]
    assert new == ()


KNOWN = {
    "int": [1, 2, 308],
    "float": [1.0, 2.0, 308.0],
    "str": ["1", "2", "308"],
    "bool": [False, True],
    "datetime": pd.to_datetime(["2023-01-01", "2024-01-01"]),
}


@pytest.mark.parametrize(
    ("fitted", "new", "codes"),
    [
        ("int", [308.0, 1.0, np.nan], [2, 0, -1]),
        ("float", [308, 1, 4], [2, 0, 3]),
        ("int", pd.Series([308, None], dtype="Int64"), [2, -1]),
        ("int", pd.Series([308, 1.0], dtype=object), [2, 0]),
        ("int", pd.Series([2, 308], dtype="uint16"), [1, 2]),
        ("int", pd.Categorical([308, 1, None]), [2, 0, -1]),
        ("int", ["308", "1"], [3, 4]),
        ("str", [308, 1], [3, 4]),
        ("str", pd.Categorical(["308", "2"]), [2, 1]),
        ("str", pd.Series(["308", None], dtype="string"), [2, -1]),
        ("int", [True, False], [3, 4]),
        ("bool", [1, 0], [2, 3]),
        ("bool", pd.Series([True, None], dtype=object), [1, -1]),
        ("bool", pd.Series([True, None], dtype="boolean"), [1, -1]),
        ("bool", ["True"], [2]),
        ("datetime", pd.Series(["2024-01-01", None]).astype("datetime64[s]"), [1, -1]),
        ("datetime", ["2024-01-01"], [2]),
        ("int", [0.5, 308.0], [3, 2]),
    ],
)
def test_labels_match_by_value_not_by_text(fitted, new, codes):
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(KNOWN[fitted])))

    assert levels.code(Labels.of(pd.Series(new)))[0].tolist() == codes


def test_equal_labels_of_one_column_get_one_code_and_different_ones_different_codes():
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(["a", "b"])))
    codes, new = levels.code(Labels.of(pd.Series(["y", "b", "x", "y", "z", "x"])))

    assert codes.tolist() == [2, 1, 3, 2, 4, 3]
    assert new == ("y", "x", "z")


def test_new_labels_of_a_categorical_come_in_order_of_appearance_too():
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(["a", "b"])))
    codes, new = levels.code(Labels.of(pd.Series(pd.Categorical(["y", "b", "x"], ["x", "y", "b", "unused"]))))

    assert new == ("y", "x")
    assert codes.tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("known", "new", "codes"),
    [([1, 308], [308, "S400"], [1, 2]), (["a", "b"], ["b", 5, None], [1, 2, -1]), ([1, 308], [308.0, True], [1, 2])],
)
def test_a_known_label_stays_known_beside_labels_of_another_type(known, new, codes):
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(known)))

    assert levels.code(Labels.of(pd.Series(new, dtype=object)))[0].tolist() == codes


@pytest.mark.parametrize("kind", KNOWN)
def test_no_rows_and_no_labels_are_coded(kind):
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(KNOWN[kind])))
    empty, missing = pd.Series(KNOWN[kind])[:0], pd.Series([None, np.nan], dtype=object)

    assert (levels.code(Labels.of(empty))[0].tolist(), levels.code(Labels.of(empty))[1]) == ([], ())
    assert (levels.code(Labels.of(missing))[0].tolist(), levels.code(Labels.of(missing))[1]) == ([-1, -1], ())


@pytest.mark.parametrize("kind", KNOWN)
def test_the_state_of_a_column_survives_json(kind):
    levels, _ = ColumnLevels.learn(Labels.of(pd.Series(KNOWN[kind])))
    again = ColumnLevels.from_state(json.loads(json.dumps(levels.state)))

    assert again.kind == levels.kind == kind
    assert again.labels.dtype == levels.labels.dtype
    np.testing.assert_array_equal(again.labels, levels.labels)
    assert again.code(Labels.of(pd.Series(KNOWN[kind])))[0].tolist() == list(range(len(KNOWN[kind])))


# Factors made of several columns


def table(frame):
    """A frame whose columns are all parts of factors."""
    return Table.read(frame, labels=tuple(frame.columns))


def factor(frame, *columns):
    return FactorLevels.learn(table(pd.DataFrame(frame)), columns)


def test_only_observed_combinations_are_levels():
    levels, codes = factor({"a": ["y", "x", "y", "y"], "b": [2, 1, 1, 2]}, "a", "b")

    assert levels.labels.tolist() == ["x:1", "y:1", "y:2"]
    assert codes.tolist() == [2, 0, 1, 2]


def test_the_parts_orders_order_the_levels():
    levels, _ = factor({"a": pd.Categorical(["lo", "hi", "lo"], ["lo", "hi"]), "b": [10, 9, 9]}, "a", "b")

    assert levels.labels.tolist() == ["lo:9", "lo:10", "hi:9"]


def test_an_unseen_pair_of_known_parts_is_new():
    levels, _ = factor({"a": ["x", "x", "y"], "b": ["p", "q", "p"]}, "a", "b")
    new = pd.DataFrame({"a": ["y", "x", "z", "y", "x"], "b": ["q", "q", "p", "q", "r"]})
    codes, labels = levels.code(table(new))

    assert codes.tolist() == [3, 1, 4, 3, 5]
    assert labels == (("y", "q"), ("z", "p"), ("x", "r"))


def test_a_missing_part_is_a_missing_label():
    levels, _ = factor({"a": ["x", "y"], "b": [1, 2]}, "a", "b")
    codes, labels = levels.code(table(pd.DataFrame({"a": ["x", None, "w", None], "b": [np.nan, 2, np.nan, np.nan]})))

    assert codes.tolist() == [-1] * 4
    assert labels == ()


def test_a_label_seen_only_beside_a_missing_part_is_no_new_level():
    levels, _ = factor({"a": ["x", "y"], "b": ["p", "q"]}, "a", "b")
    codes, labels = levels.code(table(pd.DataFrame({"a": ["w", "v", "x"], "b": [None, "p", "p"]})))

    assert codes.tolist() == [-1, 2, 0]
    assert labels == (("v", "p"),)


def test_combinations_with_the_same_text_are_refused():
    with pytest.raises(FormulaError, match="factor 'a:b': two levels have the same text because a label contains ':'"):
        factor({"a": ["x:y", "x"], "b": ["z", "y:z"]}, "a", "b")


def test_too_many_combinations_to_count_are_refused():
    labels = np.arange(2000)

    with pytest.raises(FormulaError, match="too many combinations"):
        factor(dict.fromkeys("abcdef", labels), *"abcdef")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_columns", [2, 3])
def test_coding_of_combinations_equals_the_dictionary_twin(n_columns, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(["int", "str", "bool", "datetime", "float"])[:n_columns]
    train = pd.DataFrame({kind: RANDOM_COLUMNS[kind](rng, 8) for kind in kinds})
    new = pd.DataFrame({kind: with_gaps(RANDOM_COLUMNS[kind](rng, 60), rng) for kind in kinds})
    levels, train_codes = FactorLevels.learn(table(train), tuple(kinds))
    codes, new_labels = levels.code(table(new))
    rows = [*train.itertuples(index=False, name=None)]
    known = sorted(set(rows))

    assert [known[code] for code in train_codes] == rows
    expected_codes, expected_new = code_by_dict(known, new.itertuples(index=False, name=None))
    assert codes.tolist() == expected_codes
    assert [*map(label_key, new_labels)] == [*map(label_key, expected_new)]


def test_coding_the_training_rows_gives_the_training_codes():
    frame = pd.DataFrame({"a": list("xyzxyz"), "b": [1, 1, 2, 2, 1, 2], "c": [True, False] * 3})
    for columns in [("a",), ("a", "b"), ("c", "b", "a")]:
        levels, codes = FactorLevels.learn(table(frame), columns)
        again, new = levels.code(table(frame))

        assert again.tolist() == codes.tolist()
        assert new == ()


def test_no_rows_of_several_columns_are_coded():
    levels, _ = factor({"a": ["x", "y"], "b": [1, 2]}, "a", "b")
    codes, labels = levels.code(table(pd.DataFrame({"a": ["x"], "b": [1]})[:0]))

    assert (codes.tolist(), labels) == ([], ())


def test_the_state_of_a_factor_survives_json():
    frame = pd.DataFrame({"a": ["x", "y", "y"], "b": [3, 1, 3], "c": pd.to_datetime(["2024-01-01"] * 3)})
    levels, codes = FactorLevels.learn(table(frame), ("a", "b", "c"))
    again = FactorLevels.from_state(json.loads(json.dumps(levels.state)))

    assert again.columns == levels.columns
    assert again.labels.tolist() == levels.labels.tolist()
    assert again.code(table(frame))[0].tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("fitted", "new", "message"),
    [
        ([308, 309], ["308", "309"], "fit saw int labels, but the new data hold str labels"),
        (["308", "309"], [308, 309], "fit saw str labels, but the new data hold int labels .dtype int64."),
        ([True, False], ["True", "x"], "fit saw bool labels, but the new data hold str labels"),
        ([True, False], [0, 1], "fit saw bool labels, but the new data hold int labels"),
        ([0, 1], [True, False], "fit saw int labels, but the new data hold bool labels"),
        (["308", "309"], [308.0, np.nan], "fit saw str labels, but the new data hold float labels"),
        (["308", "309"], [b"308", b"1"], "fit saw str labels, but the new data hold other labels"),
        (pd.to_datetime(["2024-01-01", "2024-02-01"]), ["2024-01-01"] * 2, "fit saw datetime labels, but"),
        (["2024-01-01", "2024-02-01"], pd.to_datetime(["2024-01-01"] * 2), "fit saw str labels, but"),
        (ZONED, ZONED.tz_localize(None), "fit saw dates with a time zone, but the new data hold dates without one"),
        (ZONED.tz_localize(None), ZONED, "fit saw dates without one, but the new data hold dates with a time zone"),
        (["308", "309"], ["308.0", "310.0"], "'308.0' differs from the earlier label '308' only in how it is written"),
        (["308.0", "309.0"], ["308", "310"], "'308' differs from the earlier label '308.0' only in how"),
        (["a", "b"], ["c", " b"], "' b' differs from the earlier label 'b' only in how it is written"),
    ],
)
def test_labels_new_by_their_type_alone_are_explained(fitted, new, message):
    levels, _ = factor({"g": fitted}, "g")
    frame = pd.DataFrame({"g": new})

    assert message in levels.type_mismatch(table(frame), levels.code(table(frame))[0]).replace("(", ".").replace(
        ")", "."
    )


@pytest.mark.parametrize("new", [[308.0, 310.0], [310, 311], ["a", "b"], [308, 310], [None, None]])
def test_labels_that_are_known_or_new_by_value_need_no_explanation(new):
    levels, _ = factor({"g": [308, 309]}, "g")
    frame = pd.DataFrame({"g": new})

    assert levels.type_mismatch(table(frame), levels.code(table(frame))[0]) is None


def test_new_combinations_of_known_texts_need_no_explanation():
    levels, _ = factor({"a": ["x", "y"], "b": ["p", "q"]}, "a", "b")
    frame = pd.DataFrame({"a": ["x", "y "], "b": ["q", "r"]})

    assert levels.type_mismatch(table(frame), levels.code(table(frame))[0]) is None


@pytest.mark.parametrize("large", [2.0**53, -(2.0**60)])
def test_floats_that_may_have_been_several_integers_are_refused(large):
    """They would have been coded as another group, or several groups as one."""
    message = rf"'g' holds labels of groups as floats, which cannot distinguish integers as large as {int(large)}"
    with pytest.raises(FormulaError, match=message):
        factor({"g": [large, 1.0]}, "g")
    for fitted in (int(large) + np.arange(3), [1.0, 2.0]):
        levels, _ = factor({"g": fitted}, "g")
        with pytest.raises(FormulaError, match=message):
            levels.code(table(pd.DataFrame({"g": [large, np.nan]})))
    levels, _ = factor({"g": ["a", "b"]}, "g")
    assert levels.code(table(pd.DataFrame({"g": [large]})))[1] == (large,)


def test_large_integers_with_missing_ones_are_told_apart():
    levels, _ = factor({"g": 2**53 + np.arange(3)}, "g")
    codes, new = levels.code(table(pd.DataFrame({"g": pd.array([2**53 + 1, None, 2**53 + 5], dtype="Int64")})))

    assert (codes.tolist(), new) == ([1, -1, 3], (2**53 + 5,))


def test_labels_that_cannot_be_compared_are_refused():
    with pytest.raises(FormulaError, match=r"'g' holds labels of groups that cannot be compared, such as \[1\]"):
        factor({"g": [[1], [2]]}, "g")


# Further levels


def extend(levels, frame):
    """The levels with those of a frame taken in, and the codes and labels that the frame had before."""
    codes, new = levels.code(table(frame))
    return levels.extended(new), codes, new


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kinds", [(kind,) for kind in RANDOM_COLUMNS] + [("int", "str"), ("str", "datetime", "bool")])
def test_taking_levels_in_changes_no_code(kinds, seed):
    """Old rows keep theirs, further rows those that they had as new; in two steps, with missing labels between."""
    rng = np.random.default_rng(seed)
    train = pd.DataFrame({kind: RANDOM_COLUMNS[kind](rng, 5) for kind in kinds})
    steps = [pd.DataFrame({kind: with_gaps(RANDOM_COLUMNS[kind](rng, 12), rng) for kind in kinds}) for _ in range(2)]
    levels, train_codes = FactorLevels.learn(table(train), kinds)
    known, coded = [label_key(label) for label in labels_of(levels)], []
    for step in steps:
        levels, codes, new = extend(levels, step)
        coded.append(codes)
        known += map(label_key, new)

    assert [label_key(label) for label in labels_of(levels)] == known
    assert len(set(known)) == len(levels.labels) == len(levels.combinations)
    for frame, codes in zip([train, *steps], [train_codes, *coded], strict=True):
        again, new = levels.code(table(frame))
        assert again.tolist() == codes.tolist()
        assert new == ()


def labels_of(levels):
    """Each level as a label, a tuple for several columns."""
    parts = [list(part.labels) if part.kind == "datetime" else part.labels.tolist() for part in levels.parts]
    cells = [tuple(part[i] for part, i in zip(parts, cell, strict=True)) for cell in levels.combinations]
    return cells if len(parts) > 1 else [cell[0] for cell in cells]


@pytest.mark.parametrize(
    ("fitted", "further", "kind", "expected"),
    [
        (["b", "d"], ["a longer label", "c", "b"], "str", ["b", "d", "a longer label", "c"]),
        ([3, 1], [2, 0, 1], "int", [1, 3, 2, 0]),
        ([3, 1], [2.0, np.nan, 1.0], "int", [1, 3, 2]),
        ([3.0, 1.0], [2], "float", [1.0, 3.0, 2.0]),
        ([True, True], [False], "bool", [True, False]),
        (pd.Categorical(["lo", "hi"], ["lo", "hi"]), ["mid"], "str", ["lo", "hi", "mid"]),
        ([(2, 1), (1, 2)], [(0, 0)], "other", ["(1, 2)", "(2, 1)", "(0, 0)"]),
    ],
)
def test_further_levels_stand_behind_in_the_type_of_the_fitted(fitted, further, kind, expected):
    levels, _ = factor({"g": pd.Series(fitted)}, "g")
    extended, *_ = extend(levels, pd.DataFrame({"g": pd.Series(further)}))
    (part,) = extended.parts

    assert (part.kind, part.labels.tolist()) == (kind, expected)
    assert part.labels.dtype.kind == levels.parts[0].labels.dtype.kind
    assert [type(label) for label in part.labels.tolist()] == [type(label) for label in expected]
    assert levels.labels.tolist() == expected[: len(levels.labels)], "the old levels are left alone"


def test_further_dates_are_levels_whatever_their_resolution():
    levels, _ = factor({"g": pd.to_datetime(["2024-01-01", "2024-01-02"])}, "g")
    days = pd.DataFrame({"g": np.array(["2023-05-05", "2024-01-02"], dtype="datetime64[s]")})
    extended, *_ = extend(levels, days)

    assert extended.labels.dtype == "datetime64[ns]"
    assert extended.labels.astype("datetime64[D]").astype(str).tolist() == ["2024-01-01", "2024-01-02", "2023-05-05"]
    assert extended.code(table(days))[0].tolist() == [2, 1]


def test_a_new_pair_of_known_parts_is_a_further_level():
    levels, _ = factor({"a": ["x", "x", "y"], "b": [1, 2, 1]}, "a", "b")
    extended, codes, _ = extend(levels, pd.DataFrame({"a": ["y", "z", "x"], "b": [2, 1, 2]}))

    assert extended.labels.tolist() == ["x:1", "x:2", "y:1", "y:2", "z:1"]
    assert codes.tolist() == [3, 4, 1]
    assert extended.parts[0].labels.tolist() == ["x", "y", "z"]
    assert extended.parts[1].labels.tolist() == [1, 2]


def test_nothing_new_leaves_levels_as_they_are():
    levels, _ = factor({"a": ["x", "x", "y"], "b": [1, 2, 1]}, "a", "b")

    assert extend(levels, pd.DataFrame({"a": ["y", None], "b": [1, 2]}))[0] is levels
    assert levels.extended(()) is levels


@pytest.mark.parametrize(
    ("fitted", "further", "message"),
    [
        ([308, 309], ["400"], r"'g' had int labels in fit \(such as 308\), but its new levels include '400'; convert"),
        ([308, 309], ["308", "309"], "new levels include '308', '309'"),
        ([308, 309], [309.5, 400.0], "new levels include 309.5; convert"),
        ([308, 309], [float("inf")], "new levels include inf; convert"),
        ([308, 309], [True], "new levels include True; convert"),
        ([308.0, 309.0], ["400"], "'g' had float labels in fit"),
        (["a", "b"], [5], r"'g' had str labels in fit \(such as 'a'\), but its new levels include 5; convert"),
        ([True, False], [2], "'g' had bool labels in fit"),
        ([True, False], ["yes"], "new levels include 'yes'"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), ["2024-01-03"], "'g' had datetime labels in fit"),
        (["a", "b"], pd.to_datetime(["2024-01-03"]), "'g' had str labels in fit"),
    ],
)
def test_further_labels_of_another_type_are_refused(fitted, further, message):
    levels, _ = factor({"g": pd.Series(fitted)}, "g")

    with pytest.raises(ValueError, match=message):
        extend(levels, pd.DataFrame({"g": pd.Series(further)}))


def test_a_label_of_another_type_is_refused_beside_known_ones_and_in_any_part():
    levels, _ = factor({"a": ["x", "y"], "b": [1, 2]}, "a", "b")

    with pytest.raises(ValueError, match=r"'b' had int labels in fit \(such as 1\), but its new levels include 'two';"):
        extend(levels, pd.DataFrame({"a": ["x", "y"], "b": pd.Series([1, "two"], dtype=object)}))


def test_further_combinations_with_the_text_of_a_level_are_refused():
    levels, _ = factor({"a": ["x:y", "x"], "b": ["z", "w"]}, "a", "b")

    with pytest.raises(FormulaError, match="factor 'a:b': two levels have the same text because a label contains ':'"):
        extend(levels, pd.DataFrame({"a": ["x"], "b": ["y:z"]}))


def test_the_state_of_levels_that_came_later_survives_json():
    levels, _ = factor({"a": ["x", "y"], "b": [3, 1]}, "a", "b")
    further = pd.DataFrame({"a": ["y", "a", "x"], "b": [3, 2, 3]})
    extended, *_ = extend(levels, further)
    again = FactorLevels.from_state(json.loads(json.dumps(extended.state)))

    assert again.labels.tolist() == extended.labels.tolist() == ["x:3", "y:1", "y:3", "a:2"]
    assert again.code(table(further))[0].tolist() == extended.code(table(further))[0].tolist() == [2, 3, 0]
