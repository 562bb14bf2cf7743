"""From formula and frame to arrays: factors, blocks, codes, and the spec that serves new data."""

import json
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from bayesmixed.datasets import load_dyestuff, load_pastes, load_penicillin, load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import FormulaError
from bayesmixed.formula.parse import parse
from helpers.twins import in_new_process, one_hot


def learn(formula, frame, **options):
    return DesignSpec.learn(parse(formula), frame, **options)


@pytest.fixture
def pupils():
    """Pupils in classes, two numbers and a category that is not in alphabetical order."""
    rng = np.random.default_rng(5)
    n = 48
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 2, n),
            "k": pd.Categorical(rng.permutation(["mid", "low", "high"] * 16), ["low", "mid", "high"]),
            "g": np.repeat(["s1", "s2", "s3", "s4"], 12),
            "h": np.tile([3, 1, 2], 16),
            "my g": np.tile(["p", "q"], 24),
        }
    )


def test_sleepstudy():
    spec, design = learn("Reaction ~ Days + (Days | Subject)", load_sleepstudy())
    (subject,) = design.groups

    assert (spec.response, design.common_names, design.has_intercept) == ("Reaction", ("Days",), True)
    assert (design.n_rows, design.X.shape, subject.Z.shape) == (180, (180, 1), (180, 2))
    assert (subject.name, subject.effect_names, subject.blocks) == ("Subject", ("Intercept", "Days"), ((0, 1),))
    assert (subject.pairs, subject.pair_names) == (((0, 1),), ("Intercept:Days",))
    assert subject.levels[:3].tolist() == [308, 309, 310]
    assert (len(subject.levels), np.bincount(subject.codes).tolist()) == (18, [10] * 18)
    np.testing.assert_array_equal(subject.Z, np.column_stack([np.ones(180), design.X[:, 0]]))
    assert (design.y, design.offset, design.weights, subject.new_labels) == (None, None, None, ())


@pytest.mark.parametrize(
    ("formula", "frame", "levels"),
    [
        ("1 + (1 | Batch)", load_dyestuff(), {"Batch": 6}),
        ("(1 | plate) + (1 | sample)", load_penicillin(), {"plate": 24, "sample": 6}),
        ("(1 | batch/cask)", load_pastes(), {"batch": 10, "batch:cask": 30}),
        ("(1 | batch) + (1 | sample)", load_pastes(), {"batch": 10, "sample": 30}),
        ("(1 | batch*cask)", load_pastes(), {"batch": 10, "cask": 3, "batch:cask": 30}),
    ],
)
def test_the_data_sets_have_their_documented_levels(formula, frame, levels):
    spec, design = learn(formula, frame)

    assert {factor.name: len(factor.levels) for factor in design.groups} == levels
    assert design.X.shape == (len(frame), 0)
    assert [len(group.levels) for group in spec.groups] == [*levels.values()]


BLOCKS = [
    ("(x | g)", "lkj", {"g": (("Intercept", "x"),)}),
    ("(x | g)", "independent", {"g": (("Intercept",), ("x",))}),
    ("(x | g)", {"g": "independent"}, {"g": (("Intercept",), ("x",))}),
    ("(x || g)", "lkj", {"g": (("Intercept",), ("x",))}),
    ("(x || g)", {"g": "lkj"}, {"g": (("Intercept",), ("x",))}),
    ("(1 | g) + (0 + x | g)", "lkj", {"g": (("Intercept",), ("x",))}),
    ("(x | g) + (0 + z | g)", "lkj", {"g": (("Intercept", "x"), ("z",))}),
    ("(x | g) + (0 + k | g)", "lkj", {"g": (("Intercept", "x"), ("k[low]", "k[mid]", "k[high]"))}),
    ("(x | g) + (0 + z || g)", "lkj", {"g": (("Intercept", "x"), ("z",))}),
    ("(k | g)", "lkj", {"g": (("Intercept", "k[mid]", "k[high]"),)}),
    ("(k || g)", "lkj", {"g": (("Intercept",), ("k[mid]",), ("k[high]",))}),
    ("(0 + k | g)", "lkj", {"g": (("k[low]", "k[mid]", "k[high]"),)}),
    ("(0 + k | g) + (1 | g)", "lkj", {"g": (("k[low]", "k[mid]", "k[high]"), ("Intercept",))}),
    ("(1 | g) + (0 + k | g)", "lkj", {"g": (("Intercept",), ("k[low]", "k[mid]", "k[high]"))}),
    ("(x*z | g)", "lkj", {"g": (("Intercept", "x", "z", "x:z"),)}),
    ("(bs(x, df=4) | g)", "lkj", {"g": (("Intercept", *(f"bs(x, df=4)[{i}]" for i in range(4))),)}),
    ("(scale(x) | g)", "lkj", {"g": (("Intercept", "scale(x)"),)}),
    ("(x | g) + (1 | h)", {"h": "lkj"}, {"g": (("Intercept", "x"),), "h": (("Intercept",),)}),
    ("(x | g) + (x | h)", {"g": "independent"}, {"g": (("Intercept",), ("x",)), "h": (("Intercept", "x"),)}),
    ("(x | g/h)", {"g:h": "independent"}, {"g": (("Intercept", "x"),), "g:h": (("Intercept",), ("x",))}),
    ("(1 | g:h) + (0 + x | h:g)", "lkj", {"g:h": (("Intercept",), ("x",))}),
    ("(1 | g) + (x | h) + (0 + x | g)", "lkj", {"g": (("Intercept",), ("x",)), "h": (("Intercept", "x"),)}),
    ("(1 | `my g`)", "lkj", {"my g": (("Intercept",),)}),
    ("(1 | g + h)", "independent", {"g": (("Intercept",),), "h": (("Intercept",),)}),
]


@pytest.mark.parametrize(("formula", "group_prior", "blocks"), BLOCKS)
def test_each_correlated_bar_is_a_block_and_each_other_effect_its_own(formula, group_prior, blocks, pupils):
    spec, design = learn(formula, pupils, group_prior=group_prior)
    by_name = {f.name: tuple(tuple(f.effect_names[i] for i in block) for block in f.blocks) for f in design.groups}

    assert by_name == blocks
    for group, factor in zip(spec.groups, design.groups, strict=True):
        assert (group.blocks, group.effect_names, group.pairs) == (factor.blocks, factor.effect_names, factor.pairs)
        assert sorted(i for block in factor.blocks for i in block) == list(range(factor.Z.shape[1]))
        assert len(set(factor.effect_names)) == factor.Z.shape[1]


def test_pairs_are_those_within_a_block_row_by_row(pupils):
    _, design = learn("(x + z | g) + (0 + k | g)", pupils)
    (g,) = design.groups

    assert g.pairs == ((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5))
    assert g.pair_names[:3] == ("Intercept:x", "Intercept:z", "x:z")


@pytest.mark.parametrize("formula", ["(x*z*w | g)", "(0 + x + z:w + x:z + w | g)"])
def test_the_names_of_pairs_are_distinct(formula, pupils):
    _, design = learn(formula, pupils.assign(w=1.0 + pupils["x"] ** 2))
    names = design.groups[0].pair_names

    assert len(set(names)) == len(names)


def test_each_bar_is_coded_on_its_own(pupils):
    _, apart = learn("k + (1 | g) + (0 + k | g)", pupils)
    _, alone = learn("(0 + k | g)", pupils)

    np.testing.assert_array_equal(apart.groups[0].Z[:, 1:], alone.groups[0].Z)
    np.testing.assert_array_equal(alone.groups[0].Z.sum(axis=1), 1)


def test_two_bars_have_the_columns_of_one(pupils):
    _, one = learn("(x | g)", pupils)
    _, two = learn("(1 | g) + (0 + x | g)", pupils)

    np.testing.assert_array_equal(one.groups[0].Z, two.groups[0].Z)


@pytest.mark.parametrize(
    ("formula", "has_intercept", "names", "factors"),
    [
        ("x + z", True, ("x", "z"), ()),
        ("0 + x + (1 | g)", False, ("x",), ("g",)),
        ("0 + k + (x | g)", False, ("k[low]", "k[mid]", "k[high]"), ("g",)),
        ("(1 | g) + (1 | h)", True, (), ("g", "h")),
        ("0 + (1 | g)", False, (), ("g",)),
        ("x*k - 1 + (1 | g)", False, ("x", "k[low]", "k[mid]", "k[high]", "x:k[mid]", "x:k[high]"), ("g",)),
        ("1", True, (), ()),
    ],
)
def test_common_part_and_factors_are_apart(formula, has_intercept, names, factors, pupils):
    spec, design = learn(formula, pupils)

    assert (design.has_intercept, design.common_names) == (has_intercept, names)
    assert (spec.has_intercept, spec.common_names) == (has_intercept, names)
    assert design.X.shape == (len(pupils), len(names))
    assert tuple(factor.name for factor in design.groups) == factors
    assert len(design.common_terms) == len(names)


def test_response_is_what_the_offset_leaves(pupils):
    y = pupils["y"].to_numpy()
    _, plain = learn("x", pupils, y=y)
    _, shifted = learn("x + offset(z) + offset(2)", pupils, y=y, weights=np.full(48, 2.0))

    np.testing.assert_array_equal(plain.response, y)
    np.testing.assert_allclose(shifted.response, y - pupils["z"] - 2)
    np.testing.assert_array_equal(shifted.weights, 2)
    with pytest.raises(ValueError, match="no response; pass y"):
        _ = learn("x", pupils)[1].response


REFUSED = [
    ("(1 | g) + (x | g)", "factor 'g' has the effect 'Intercept' twice. A bar has an intercept unless"),
    ("(1 | g) + (1 | C(g))", "'g' has the effect 'Intercept' twice"),
    ("(0 + x | g) + (0 + x + z | g)", "'g' has the effect 'x' twice"),
    ("(x || g) + (0 + x | g)", "'g' has the effect 'x' twice"),
    ("(1 | g/h) + (1 | h:g)", "'g:h' has the effect 'Intercept' twice"),
    ("(0 | g)", r"'\(0 \| g\)' has no effects"),
    ("(x - x - 1 | g)", "has no effects"),
    ("(offset(x) | g)", "an offset cannot be used left of a bar"),
    ("(1 | z)", "'z' has fractional labels"),
    ("(1 | one)", "factor 'one' has a single level, 'a'; the spread of its effects cannot be learned"),
    ("(1 | one:two)", "factor 'one:two' has a single level, 'a:1'"),
    ("(one | g)", "'one' has a single level, 'a'"),
    ("x + one", "'one' has a single level, 'a'"),
    ("(log(h1) | g)", r"term 'log\(h1\)' is NaN or infinite in 16 of 48 rows"),
    ("(foo | g)", r"uses 'foo', which is not a column of X"),
    ("(1 | g:foo)", r"uses 'foo', which is not a column of X"),
    ("x + foo + (1 | g)", r"uses 'foo', which is not a column of X"),
]


@pytest.mark.parametrize(("formula", "message"), REFUSED)
def test_a_formula_that_does_not_fit_the_frame_is_refused(formula, message, pupils):
    frame = pupils.assign(one="a", two=1, h1=pupils["h"] - 1)

    with pytest.raises(FormulaError, match=message):
        learn(formula, frame)


def test_a_missing_column_is_named_with_the_columns_there_are():
    frame = load_sleepstudy()[["Days", "Subject"]]
    with pytest.raises(FormulaError) as error:
        learn("Dayz + (Days | Subject)", frame)

    assert str(error.value) == (
        "formula 'Dayz + (Days | Subject)' uses 'Dayz', which is not a column of X (columns: 'Days', 'Subject')."
    )


@pytest.mark.parametrize(
    ("formula", "column", "message"),
    [
        ("(1 | g)", "g", "factor 'g': column 'g' has 3 missing labels .NaN. in 48 rows"),
        ("x + (1 | g:h)", "h", "factor 'g:h': column 'h' has 3 missing labels"),
        ("x + (1 | g)", "x", "column 'x' has 3 missing values"),
        ("(x | g)", "x", "column 'x' has 3 missing values"),
        ("k + (1 | g)", "k", "column 'k' has 3 missing values"),
    ],
)
def test_missing_values_in_used_columns_are_refused_with_their_number(formula, column, message, pupils):
    frame = pupils.assign(**{column: pupils[column].mask(pupils.index < 3)})

    with pytest.raises(ValueError, match=message):
        learn(formula, frame)


def test_missing_values_in_unused_columns_mean_nothing(pupils):
    frame = pupils.assign(z=np.nan, k=None, y=np.nan)

    np.testing.assert_array_equal(learn("x + (x | g)", frame)[1].X, learn("x + (x | g)", pupils)[1].X)


@pytest.mark.parametrize(
    ("group_prior", "message"),
    [
        ({"Item": "lkj"}, "group_prior names 'Item'; the formula's grouping factors are 'g', 'g:h'"),
        ({"g": "diagonal"}, "group_prior must be one of 'lkj', 'independent', or a dict of these, got 'diagonal'"),
        ("diagonal", "group_prior must be one of 'lkj', 'independent'"),
        (None, "group_prior must be one of"),
    ],
)
def test_an_unknown_group_prior_or_factor_is_refused(group_prior, message, pupils):
    with pytest.raises(ValueError, match=message):
        learn("(x | g/h)", pupils, group_prior=group_prior)


def test_a_column_with_a_colon_is_not_taken_for_an_interaction(pupils):
    frame = pupils.assign(**{"g:h": np.tile(["p", "q", "r", "r"], 12)})

    with pytest.raises(FormulaError, match="'g:h'"):
        learn("(1 | `g:h`) + (0 + x | g:h)", frame)


GOOD = [
    "x + ( x | g )",
    "y ~ x * k + ( 1 | g / h ) - 1",
    "( x || g ) + ( 0 + k | g : h )",
    "log( z ) + scale( x ) : k + ( 1 + z | g )",
    "{ x > 1 } + bs( x, df = 4 ) + offset( z ) + T( k, 'mid' )",
]
SCRAPS = [*"xzkgh(){}+-*/:~012,=<|", "**", "||", "==", "1e-3", "1.", "'a'", "`x`", "Sum", "True"]
SCRAPS += ["log(", "scale(", "C(", "S(", "poly(", "offset(", "I("]


@pytest.mark.parametrize("seed", range(4))
def test_a_mangled_formula_is_refused_or_gives_finite_columns(seed, pupils):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        words = rng.choice(GOOD).split()
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(len(words))
            words[at : at + rng.integers(0, 2)] = rng.choice(SCRAPS, rng.integers(0, 2)).tolist()
            words = words or ["1"]
        try:
            spec, design = learn(" ".join(words), pupils)
        except FormulaError:
            continue
        assert np.isfinite(np.hstack([design.X, *(factor.Z for factor in design.groups)])).all()
        np.testing.assert_allclose(spec.apply(pupils[:5]).X, design.X[:5], atol=1e-12)


# Laws


EVERY_SHAPE = [
    "x*k + (x | g) + (0 + k || h)",
    "scale(x) + bs(z, df=4) + (poly(x, 2) | g/h)",
    "0 + k + offset(z) + (1 | g:h) + (center(x) | `my g`)",
]


@pytest.mark.parametrize("formula", EVERY_SHAPE)
def test_codes_and_z_give_the_linear_predictor_of_the_dense_matrix(formula, pupils):
    rng = np.random.default_rng(0)
    _, design = learn(formula, pupils)
    for factor in design.groups:
        n_levels, q = len(factor.levels), len(factor.effect_names)
        b = rng.normal(size=(n_levels, q))
        J = one_hot(factor.codes, n_levels)
        dense = np.array([np.kron(indicator, z) for indicator, z in zip(J, factor.Z, strict=True)])

        np.testing.assert_allclose((factor.Z * b[factor.codes]).sum(axis=1), dense @ b.ravel(), rtol=1e-12)
        np.testing.assert_array_equal(J.sum(axis=0) > 0, True)


@pytest.mark.parametrize("formula", EVERY_SHAPE)
def test_permuting_rows_permutes_the_design(formula, pupils):
    order = np.random.default_rng(2).permutation(len(pupils))
    _, design = learn(formula, pupils)
    _, permuted = learn(formula, pupils.iloc[order, ::-1])

    np.testing.assert_allclose(permuted.X, design.X[order], atol=1e-9)
    assert permuted.common_names == design.common_names
    for a, b in zip(permuted.groups, design.groups, strict=True):
        np.testing.assert_array_equal(a.codes, b.codes[order])
        np.testing.assert_array_equal(a.levels, b.levels)
        np.testing.assert_allclose(a.Z, b.Z[order], atol=1e-9)


def test_renaming_levels_changes_the_labels_only(pupils):
    _, design = learn("x + (x | g) + (1 | g:h)", pupils)
    _, renamed = learn("x + (x | g) + (1 | g:h)", pupils.assign(g="the " + pupils["g"]))

    np.testing.assert_array_equal(renamed.X, design.X)
    for a, b in zip(renamed.groups, design.groups, strict=True):
        assert a.levels.tolist() == [f"the {label}" for label in b.levels]
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.Z, b.Z)


def test_the_index_means_nothing(pupils):
    odd = pupils.set_axis(np.zeros(len(pupils), dtype=int))
    spec, design = learn("x + (x | g/h)", odd)

    np.testing.assert_array_equal(design.X, learn("x + (x | g/h)", pupils)[1].X)
    np.testing.assert_array_equal(spec.apply(odd).groups[1].codes, design.groups[1].codes)


def test_learning_leaves_the_frame_as_it_was(pupils):
    before = pupils.copy()
    spec, _ = learn(EVERY_SHAPE[1], pupils)
    spec.apply(pupils)

    pd.testing.assert_frame_equal(pupils, before)


@pytest.mark.parametrize("formula", EVERY_SHAPE)
def test_applying_to_the_training_rows_gives_the_training_design(formula, pupils):
    spec, design = learn(formula, pupils)

    assert_same_design(spec.apply(pupils), design)


def assert_same_design(a, b):
    """Bit-equal arrays and equal names."""
    np.testing.assert_array_equal(a.X, b.X)
    assert (a.common_names, a.common_terms, a.has_intercept) == (b.common_names, b.common_terms, b.has_intercept)
    assert (a.offset is None) == (b.offset is None)
    if a.offset is not None:
        np.testing.assert_array_equal(a.offset, b.offset)
    for left, right in zip(a.groups, b.groups, strict=True):
        for name in ["levels", "codes", "Z"]:
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
        for name in ["name", "effect_names", "blocks", "new_labels"]:
            assert getattr(left, name) == getattr(right, name)


# New data


def test_new_and_missing_labels_get_codes_of_their_own(pupils):
    spec, _ = learn("x + (x | g) + (1 | g:h)", pupils)
    new = pd.DataFrame({"x": range(6), "h": [1, 1, 9, 1, 2, 1.0], "g": ["s2", "s9", "s2", None, "s8", "s9"]})
    design = spec.apply(new)
    g, gh = design.groups

    assert g.codes.tolist() == [1, 4, 1, -1, 5, 4]
    assert g.new_labels == ("s9", "s8")
    assert gh.codes.tolist() == [3, 12, 13, -1, 14, 12]
    assert gh.new_labels == (("s9", 1), ("s2", 9), ("s8", 2))
    np.testing.assert_array_equal(g.Z, np.column_stack([np.ones(6), range(6)]))
    assert g.levels.tolist() == ["s1", "s2", "s3", "s4"]


def test_columns_of_excluded_factors_need_not_be_there(pupils):
    spec, design = learn("x + (z | g) + (1 | h)", pupils)

    assert spec.apply(pupils[["x"]], ()).groups == ()
    (h,) = spec.apply(pupils[["h", "x"]], ("h",)).groups
    np.testing.assert_array_equal(h.codes, design.groups[1].codes)
    with pytest.raises(FormulaError, match="uses 'g', which is not a column of X"):
        spec.apply(pupils[["h", "x"]])
    with pytest.raises(FormulaError, match="uses 'z', which is not a column of X"):
        spec.apply(pupils[["x", "g"]], ("g",))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.nan}, ValueError, "column 'x' has 48 missing values"),
        ({"z": np.inf}, ValueError, "column 'z' has 48 infinite values"),
        ({"k": "top"}, FormulaError, "'k' has levels not seen in fit: 'top'"),
        ({"z": -1.0}, FormulaError, r"term 'log\(z\)' is NaN or infinite in 48 of 48 rows"),
    ],
)
def test_bad_new_data_are_refused_by_name(change, error, message, pupils):
    spec, _ = learn("x*k + (log(z) | g)", pupils)

    with pytest.raises(error, match=message):
        spec.apply(pupils.assign(**change))


def test_the_response_need_not_be_in_new_data(pupils):
    spec, design = learn("y ~ x + (1 | g)", pupils)

    assert spec.response == "y"
    assert_same_design(spec.apply(pupils.drop(columns="y")), design)


@pytest.mark.parametrize(
    "formula", ["x*k + (x | g)", "log(z) + poly(x, 2) + C(h) + (scale(z) | g:h)", "bs(x, df=4) + (z | g)"]
)
def test_no_rows_give_an_empty_design(formula, pupils):
    spec, design = learn(formula, pupils)
    empty = spec.apply(pupils[:0])

    assert empty.X.shape == (0, design.X.shape[1])
    assert empty.groups[0].Z.shape == (0, 2)
    assert (len(empty.groups[0].codes), empty.groups[0].new_labels) == (0, ())


# Further levels


@pytest.mark.parametrize("formula", EVERY_SHAPE)
def test_a_spec_with_the_new_levels_applies_as_the_old_one_did(formula, pupils):
    """The old rows' design is the same but for the levels; the new rows' codes and numbers are those they had."""
    spec, design = learn(formula, pupils)
    new = pupils[:6].assign(g=["s9", "s1", "s9", "s8", "s2", "s1"], h=[1, 9, 2, 3, 1, 2], **{"my g": list("pqrrqp")})
    applied = spec.apply(new)
    further, extended = spec.extended(applied)

    assert_same_design(further.apply(new), extended)
    for factor, before, old, old_again, group in zip(
        extended.groups, applied.groups, design.groups, further.apply(pupils).groups, spec.groups, strict=True
    ):
        assert factor.levels[: len(old.levels)].tolist() == old.levels.tolist() == group.levels.tolist()
        assert len(factor.levels) == len(old.levels) + len(before.new_labels)
        assert (factor.new_labels, old_again.new_labels) == ((), ())
        np.testing.assert_array_equal(factor.codes, before.codes)
        np.testing.assert_array_equal(factor.Z, before.Z)
        np.testing.assert_array_equal(old_again.codes, old.codes)
    np.testing.assert_array_equal(extended.X, applied.X)
    text = json.dumps(further.state)
    assert_same_design(DesignSpec.from_state(json.loads(text)).apply(new), extended)


@pytest.mark.parametrize("formula", [*EVERY_SHAPE, "x + z"])
def test_without_new_levels_a_spec_stays_as_it_is(formula, pupils):
    spec, design = learn(formula, pupils)
    again, extended = spec.extended(spec.apply(pupils))

    assert again.state == spec.state
    assert_same_design(extended, design)


def test_the_new_levels_of_two_steps_stand_one_behind_the_other(pupils):
    spec, _ = learn("x + (x | g) + (1 | g:h)", pupils)
    for labels in (["s9", "s1"], ["s0", "s9"]):
        spec, _ = spec.extended(spec.apply(pupils[:2].assign(g=labels)))
    g, gh = spec.groups

    assert g.levels.tolist() == ["s1", "s2", "s3", "s4", "s9", "s0"]
    assert gh.levels[12:].tolist() == ["s9:3", "s0:3", "s9:1"]


def test_a_new_level_of_another_type_is_refused(pupils):
    spec, _ = learn("x + (x | g) + (1 | h)", pupils)

    with pytest.raises(ValueError, match=r"'h' had int labels in fit \(such as 1\), but its new levels include 'one'"):
        spec.extended(spec.apply(pupils[:2].assign(h="one")))


# What was learned is plain data


APPLY = """
import json, sys
import pandas as pd
from bayesmixed.design.spec import DesignSpec
given = json.load(sys.stdin)
design = DesignSpec.from_state(given["state"]).apply(pd.DataFrame(given["data"]))
flat = lambda array: [v.hex() for v in array.ravel().tolist()]
groups = [[g.name, g.codes.tolist(), flat(g.Z), g.blocks, g.levels.tolist()] for g in design.groups]
json.dump([flat(design.X), flat(design.offset), groups], sys.stdout)
"""


def test_the_state_applies_bit_equally_in_a_new_process(pupils):
    formula = "k*scale(x) + bs(z, df=4) + offset(center(z)) + (poly(x, 2) | g/h) + (bs(x, df=5) || `my g`)"
    spec, design = learn(formula, pupils)
    data = pupils.astype({"k": str}).to_dict("list")
    X, offset, groups = in_new_process(APPLY, {"state": spec.state, "data": data})

    def flat(array):
        return [v.hex() for v in array.ravel().tolist()]

    assert flat(design.X) == X
    assert flat(design.offset) == offset
    assert groups == [
        [g.name, g.codes.tolist(), flat(g.Z), [list(block) for block in g.blocks], g.levels.tolist()]
        for g in design.groups
    ]


@pytest.mark.parametrize("formula", EVERY_SHAPE)
def test_the_state_survives_json_and_pickle(formula, pupils):
    spec, design = learn(formula, pupils)
    text = json.dumps(spec.state)
    for again in [DesignSpec.from_state(json.loads(text)), pickle.loads(pickle.dumps(spec))]:
        assert json.dumps(again.state) == text
        assert_same_design(again.apply(pupils), design)


def test_the_spec_holds_no_rows(pupils):
    spec, _ = learn("x + (x | g)", pd.concat([pupils] * 50, ignore_index=True))

    assert len(json.dumps(spec.state)) < 2000


def test_plain_columns_need_no_formula(pupils):
    spec, design = DesignSpec.plain(pupils[["x", "z"]], y=pupils["y"].to_numpy())
    again = DesignSpec.from_state(json.loads(json.dumps(spec.state)))

    assert (spec.formula, design.common_names, design.has_intercept, design.groups) == (None, ("x", "z"), True, ())
    np.testing.assert_array_equal(design.X, pupils[["x", "z"]])
    assert_same_design(again.apply(pupils), design)


def test_memory_is_that_of_a_few_frames_whatever_the_number_of_levels():
    rng = np.random.default_rng(0)
    n = 1_000_000
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 10_000, n)})
    tracemalloc.start()
    _, design = learn("x + (x | g)", frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(design.groups[0].levels) == 10_000
    assert peak < 8 * frame.memory_usage(index=False).sum()


@pytest.mark.parametrize("rows", [slice(3, None, 2), np.array([5, 5, 0]), np.arange(48) % 3 == 1], ids=str)
def test_some_rows_of_a_design_are_those_of_every_array(rows, pupils):
    """With the same levels, though some may not occur."""
    y, weights = pupils["y"].to_numpy(), np.arange(48) + 1.0
    _, design = learn("x + offset(z) + (x | g) + (1 | h)", pupils, y=y, weights=weights)
    some = design.take(rows)

    for found, whole in [(some.X, design.X), (some.offset, design.offset), (some.y, y), (some.weights, weights)]:
        np.testing.assert_array_equal(found, whole[rows])
    for found, whole in zip(some.groups, design.groups, strict=True):
        np.testing.assert_array_equal(found.codes, whole.codes[rows])
        np.testing.assert_array_equal(found.Z, whole.Z[rows])
        np.testing.assert_array_equal(found.levels, whole.levels)
    assert learn("x", pupils)[1].take(rows).y is None
