"""Sufficient statistics: one pass over the rows, in any pieces and any order, of any labels."""

from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmixed.chunks import allow
from bayesmixed.design.moments import Moments
from bayesmixed.gaussian.batched import lower
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import is_nested, products_of_rows, working_products
from helpers.collapsed_twins import dense_log_likelihood, evaluate, learn, make_frame, on_user_scale, random_points
from helpers.strategies import parts, weights

FRAME = make_frame()
Y = np.random.default_rng(3).normal(5, 2, 40) + 1.5 * (FRAME["pupil"].to_numpy() % 3)
WEIGHTS = np.arange(40) % 3 + 0.5
CASES = {
    "one factor": ("x + k + (x | pupil)", {}),
    "nested": ("x + (1 | town/school/pupil)", {}),
    "crossed": ("x + (x | pupil) + (z | task)", {}),
    "crossed, weights": ("x + (x | pupil) + (1 | item)", {"weights": WEIGHTS}),
    "no intercept": ("0 + x + offset(z) + (0 + x | school)", {}),
}


def read(model, design=None):
    """Statistics of a design in the units of a model."""
    return working_products(model.design if design is None else design, model.density.units)


def rows_of(design, rows, codes=None):
    """Some rows of a design; `codes` says how many of the levels each factor knows yet."""
    some = design.take(rows)
    counts = codes or [len(factor.levels) for factor in design.groups]
    groups = [replace(f, levels=f.levels[:count]) for f, count in zip(some.groups, counts, strict=True)]
    return replace(some, groups=tuple(groups))


def assert_same(a, b, digits=10):
    assert a.n == pytest.approx(b.n)
    pairs = [(a.VV, b.VV), *zip(a.S, b.S, strict=True), *zip(a.T, b.T, strict=True)]
    assert list(a.pairs) == list(b.pairs)
    for key, ours in a.pairs.items():
        np.testing.assert_array_equal(ours.first, b.pairs[key].first)
        np.testing.assert_array_equal(ours.second, b.pairs[key].second)
        pairs.append((ours.products, b.pairs[key].products))
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, atol=10.0**-digits * np.abs(b.VV).max())


@pytest.mark.parametrize("case", CASES)
def test_equal_the_loop_over_rows(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, y=Y, **options)
    design, units = model.design, model.density.units
    found = read(model)
    V = units.common_columns(design, slice(None))
    Z = [units.group_columns(f, factor, slice(None)) for f, factor in enumerate(design.groups)]
    weights = np.ones(40) if design.weights is None else design.weights
    assert found.n == pytest.approx(weights.sum())
    np.testing.assert_allclose(found.VV, V.T @ np.diag(weights) @ V, atol=1e-10)
    for f, factor in enumerate(design.groups):
        for level in range(len(factor.levels)):
            mine = factor.codes == level
            z = Z[f][mine] * weights[mine, None]
            S, T = z.T @ Z[f][mine], z.T @ V[mine]
            np.testing.assert_allclose(found.S[f][:, level], [S[i, j] for i, j in lower(len(S))], atol=1e-10)
            np.testing.assert_allclose(found.T[f][:, :, level], T, atol=1e-10)
    for (f, g), pairs in found.pairs.items():
        codes = [design.groups[f].codes, design.groups[g].codes]
        assert list(zip(pairs.first, pairs.second, strict=True)) == sorted(set(zip(*codes, strict=True)))
        for at, (a, b) in enumerate(zip(pairs.first, pairs.second, strict=True)):
            mine = (codes[0] == a) & (codes[1] == b)
            z = Z[f][mine] * weights[mine, None]
            np.testing.assert_allclose(pairs.products[:, :, at], z.T @ Z[g][mine], atol=1e-10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [1, 7, 39, 40])
def test_rows_may_be_read_in_pieces(case, chunk):
    formula, options = CASES[case]
    model = learn(formula, FRAME, y=Y, **options)
    whole = read(model)
    with allow(working=chunk):
        assert_same(read(model, replace(model.design)), whole)


@pytest.mark.parametrize("case", CASES)
def test_the_sum_of_two_sets_of_rows_is_that_of_all(case):
    """One half misses levels; and the other brings further ones, at the end of the codes."""
    formula, options = CASES[case]
    model = learn(formula, FRAME, y=Y, **options)
    codes = np.array([factor.codes for factor in model.design.groups])
    early = (codes <= codes.max(axis=1, keepdims=True) // 2).all(axis=0)
    known = [int(c[early].max()) + 1 for c in codes]
    first = read(model, rows_of(model.design, early, known))
    second = read(model, rows_of(model.design, ~early))

    assert early.any()
    assert all(a < b for a, b in zip(first.n_levels, second.n_levels, strict=True))
    assert_same(first + second, read(model))
    assert_same(second + first, read(model))
    halves = [read(model, rows_of(model.design, slice(i, None, 2))) for i in range(2)]
    assert_same(halves[0] + halves[1], read(model))


def in_order_of_arrival(design, order):
    """The same design with the levels of each factor in the order in which the rows bring them."""
    groups = []
    for factor in design.groups:
        arrived, first = np.unique(factor.codes[order], return_index=True)
        new_code = np.empty(len(factor.levels), dtype=int)
        new_code[arrived[np.argsort(first)]] = np.arange(len(factor.levels))
        levels = factor.levels[np.argsort(new_code)]
        groups.append(replace(factor, codes=new_code[factor.codes], levels=levels))
    return replace(design, groups=tuple(groups))


@settings(max_examples=40)
@given(
    st.sampled_from(["x + (x | pupil)", "(1 | town/school/pupil)", "0 + x + (x | pupil) + (1 | item)"]),
    weights(40),
    parts(40),
)
def test_statistics_of_parts_add_up_in_any_order(formula, w, pieces):
    """A commutative monoid: parts may be empty, and each knows the levels that have come so far."""
    model = learn(formula, FRAME, y=Y, weights=w)
    design = in_order_of_arrival(model.design, np.concatenate(pieces))
    units = model.density.units
    whole = products_of_rows(design, units)
    seen, found = [0] * len(design.groups), []
    for rows in pieces:
        seen = [max(s, factor.codes[rows].max(initial=-1) + 1) for s, factor in zip(seen, design.groups, strict=True)]
        found.append(products_of_rows(rows_of(design, rows, seen), units))
    a, b, c, d = found
    nothing = products_of_rows(rows_of(design, np.arange(0), [0] * len(design.groups)), units)

    assert_same(((a + b) + c) + d, whole)
    assert_same(a + (b + (c + d)), whole)
    assert_same((d + b) + (c + a), whole)
    for one in (a, d):
        assert_same(one + nothing, one)
        assert_same(nothing + one, one)


@pytest.mark.parametrize("case", CASES)
def test_statistics_of_no_rows_add_nothing(case):
    formula, options = CASES[case]
    design = learn(formula, FRAME, y=Y, **options).design
    whole, nothing = design.statistics, design.take(np.arange(0)).statistics

    for found in (whole + nothing, nothing + whole):
        assert_same(found._about(whole.origin, whole.effect_origins), whole.products, digits=15)
        np.testing.assert_array_equal(found.common.mean, whole.common.mean)


@pytest.mark.parametrize("case", CASES)
def test_merged_statistics_give_the_density_of_all_rows(case):
    formula, options = CASES[case]
    model = learn(formula, FRAME, y=Y, **options)
    a, b, c = (read(model, rows_of(model.design, slice(i, None, 3))) for i in range(3))
    density = CollapsedDensity.of(model.design, model.priors, model.density.units, a + b + c)
    theta, s = random_points(density, 8)

    np.testing.assert_allclose(evaluate(density, theta, s), evaluate(model.density, theta, s), rtol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_rows_does_not_matter(case):
    formula, options = CASES[case]
    order = np.random.default_rng(1).permutation(40)
    turned = {key: value[order] for key, value in options.items()}
    model, shuffled = learn(formula, FRAME, y=Y, **options), learn(formula, FRAME.iloc[order], y=Y[order], **turned)
    theta, s = random_points(model.density, 8)

    assert_same(read(shuffled), read(model))
    np.testing.assert_allclose(evaluate(shuffled.density, theta, s), evaluate(model.density, theta, s), rtol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_names_and_order_of_levels_do_not_matter_to_the_density(case):
    formula, options = CASES[case]
    renamed = FRAME.assign(**{name: 100 - FRAME[name] for name in ("pupil", "school", "town", "item", "task")})
    model, other = learn(formula, FRAME, y=Y, **options), learn(formula, renamed, y=Y, **options)
    theta, s = random_points(model.density, 8)

    assert model.design.groups[0].codes[0] != other.design.groups[0].codes[0]
    np.testing.assert_allclose(evaluate(other.density, theta, s), evaluate(model.density, theta, s), rtol=1e-11)


@pytest.mark.parametrize("case", ["one factor", "nested", "crossed", "no intercept"])
def test_a_weight_of_two_is_the_row_twice(case):
    """The same statistics; and the dense twin's weights are repeated rows, too."""
    formula, _ = CASES[case]
    counts = np.arange(40) % 3 + 1
    rows = np.repeat(np.arange(40), counts)
    weighted = learn(formula, FRAME, y=Y, weights=counts.astype(float))
    repeated = learn(formula, FRAME.iloc[rows], y=Y[rows])
    theta, s = random_points(weighted.density, 4)

    assert_same(read(weighted), read(repeated))
    np.testing.assert_allclose(evaluate(weighted.density, theta, s), evaluate(repeated.density, theta, s), rtol=1e-11)
    for i in range(4):
        point = on_user_scale(weighted.density, theta[:, i], s[i])
        dense = [dense_log_likelihood(m.design, m.priors, *point) for m in (weighted, repeated)]
        assert dense[0] == pytest.approx(dense[1], rel=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_what_is_derived_from_sums_is_what_the_rows_give(case):
    """With columns far from zero, too: 1e8 standard deviations."""
    formula, options = CASES[case]
    for shift in (0.0, 1e8):
        frame = FRAME.assign(x=FRAME["x"] + shift, z=FRAME["z"] - shift)
        model = learn(formula, frame, y=Y, **options)
        rows = products_of_rows(model.design, model.density.units)

        assert_same(read(model), rows, digits=13 if shift == 0 else 7)  # of a column there, as many are left


def test_where_sweeping_takes_nearly_all_of_a_column_the_rows_are_read_again():
    """Of a year's cube the year leaves one part in 1e5: cross-products of it as written know 6 digits of that."""
    rng = np.random.default_rng(0)
    frame = FRAME.assign(year=1990.0 + rng.integers(0, 30, 40))
    model = learn("year + {year ** 2} + {year ** 3} + (year | pupil)", frame, y=Y)
    design, units = model.design, model.density.units
    A = units.common_map(design.statistics.origin)
    V = units.common_columns(design, slice(None))
    from_sums = (A.T @ design.statistics.products.VV @ A)[3, 3]

    assert_same(read(model), products_of_rows(design, units), digits=15)
    assert read(model).VV[3, 3] == pytest.approx(V[:, 3] @ V[:, 3], rel=1e-13)
    assert abs(from_sums / (V[:, 3] @ V[:, 3]) - 1) > 1e-9


@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(0, 4), min_size=40, max_size=40), st.randoms())
@settings(max_examples=40)
def test_statistics_in_own_units_are_a_commutative_monoid(case, part, random):
    """Any partition, in any order: moments and cross-products are those of one pass over all rows."""
    formula, options = CASES[case]
    frame = FRAME.assign(x=1e6 + FRAME["x"])
    design = learn(formula, frame, y=Y, **options).design
    whole, labels = design.statistics, sorted(set(part))
    random.shuffle(labels)
    parts = [design.take(np.equal(part, one)).statistics for one in labels]
    half = len(parts) // 2
    trees = [reduce(add, parts)]
    if half:
        trees.append(reduce(add, parts[:half]) + reduce(add, parts[half:]))

    for found in trees:
        assert found.products.n == pytest.approx(whole.products.n)
        assert_same(found._about(whole.origin, whole.effect_origins), whole.products, digits=12)
        for ours, theirs in zip((found.common, *found.effects), (whole.common, *whole.effects), strict=True):
            np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-14, atol=1e-14)
            if design.has_intercept:
                np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-12, atol=1e-12)
            else:  # about zero, where it means something: there squares about the mean are not told
                np.testing.assert_allclose(ours.raw, theirs.raw, rtol=1e-14)
        for ours, theirs in zip(found.is_binary, whole.is_binary, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", CASES)
def test_moments_of_effects_are_those_of_the_rows(case):
    formula, options = CASES[case]
    design = learn(formula, FRAME, y=Y, **options).design
    rows = [np.column_stack([design.X, design.response]), *(factor.Z for factor in design.groups)]

    for found, columns in zip((design.statistics.common, *design.statistics.effects), rows, strict=True):
        expected = Moments.of(columns, design.weights)
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-14)
        np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-13)


def test_pairs_can_be_read_from_either_side():
    found = read(learn("(x | pupil) + (z | task)", FRAME, y=Y))
    there, back = found.between(0, 1), found.between(1, 0)
    table = {(a, b): there.products[:, :, k] for k, (a, b) in enumerate(zip(there.first, there.second, strict=True))}

    assert list(zip(back.first, back.second, strict=True)) == sorted((b, a) for a, b in table)
    for k, (b, a) in enumerate(zip(back.first, back.second, strict=True)):
        np.testing.assert_array_equal(back.products[:, :, k], table[a, b].T)


def test_nestedness_is_read_from_the_pairs():
    model = learn("(1 | town/school/pupil) + (1 | item)", FRAME, y=Y)
    names = [factor.name for factor in model.design.groups]
    found = read(model)
    nested = {(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and is_nested(found, i, j)}

    leaf, middle, root = "town:school:pupil", "town:school", "town"
    assert nested == {(leaf, middle), (leaf, root), (middle, root)}


def test_equal_groups_share_one_matrix():
    """Ten rows for each of four groups: one distinct Z'Z; with a slope that differs there are four."""
    day = FRAME.assign(day=np.arange(40) // 4)
    one, four, shared = (
        learn(f"({effects} | balanced)", day, y=Y).density.elimination.first.kinds for effects in ("1", "x", "day")
    )
    assert [one.S.shape, four.S.shape, shared.S.shape] == [(1, 1), (3, 4), (3, 1)]
    np.testing.assert_array_equal(shared.count, [4])


def test_the_cost_does_not_grow_with_the_rows():
    twice = [
        learn("x + (1 | school) + (1 | item)", FRAME.loc[np.tile(FRAME.index, k)], y=np.tile(Y, k)) for k in (1, 9)
    ]
    sizes = [(m.density.elimination.size, m.density.flops) for m in twice]

    assert sizes[0] == sizes[1]
