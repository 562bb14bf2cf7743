"""Tables on hand-made draws: loop twins of every number, and the laws of the shares."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmixed.chunks import allow
from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.posterior.draws import layout
from bayesmixed.posterior.tables import (
    common_effects,
    group_coefficients,
    group_covariance,
    group_effects,
    summary,
    variance_components,
)
from bayesmixed.prediction import predict as prediction
from helpers.made import GAUSSIAN, make_draws, posterior_of

FORMULA = "x + k + (x + z | school) + (1 | school:pupil)"
NUMBERS = ["mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat"]


def fit(formula, frame, **options):
    """Hand-made draws, what was learned, and the training design."""
    spec, design = DesignSpec.learn(parse(formula), frame, **options)
    return make_draws(design), spec, design


def squares_of(design):
    return {factor.name: factor.Z.T @ factor.Z / design.n_rows for factor in design.groups}


def components_of(draws, spec, design, **options):
    return variance_components(posterior_of(draws, spec), squares_of(design), 0.0, **options)


def describe(values, mean=None, coverage=0.9):
    """The numbers of one parameter, from its draws (chain, draw)."""
    n, ordered = values.size, np.sort(values, axis=None)
    average = sum(ordered) / n
    found = convergence(values)
    ends = [np.interp(p * (n - 1), np.arange(n), ordered) for p in ((1 - coverage) / 2, (1 + coverage) / 2)]
    sd = np.sqrt(sum((ordered - average) ** 2) / (n - 1))
    return [average if mean is None else mean, sd, *ends, found.ess_bulk, found.ess_tail, found.r_hat]


def assert_rows(table, labels, numbers, r_hat_rtol=1e-9):
    """The table has these rows, in this order: a tuple of labels and a list of numbers each."""
    names = [name for name in table.columns if name not in [*NUMBERS, "share"]]
    assert list(zip(*(table[name] for name in names), strict=True)) == labels
    assert isinstance(table.index, pd.RangeIndex)
    *numbers, r_hat = np.reshape(numbers, (len(labels), 7)).T
    np.testing.assert_allclose(table[NUMBERS[:-1]].T, numbers, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(table["r_hat"], r_hat, rtol=r_hat_rtol)


def covariance(draws, group, chain, draw):
    """Sigma of one draw, from its sds and correlations."""
    sd = draws.values[f"sd_{group.name}"][chain, draw]
    R = np.eye(len(sd))
    for k, (i, j) in enumerate(group.pairs):
        R[i, j] = R[j, i] = draws.values[f"corr_{group.name}"][chain, draw, k]
    return np.diag(sd) @ R @ np.diag(sd)


def covariances(draws, group):
    """Sigma of every draw, (chain, draw, q, q)."""
    chains, n_draws = draws.shape
    return np.array([[covariance(draws, group, c, d) for d in range(n_draws)] for c in range(chains)])


class Source:
    """Effects that are not stored; counts how many levels are asked for at a time."""

    def __init__(self, values):
        self.values = values
        self.asked = []

    @property
    def mean(self):
        return self.values.mean(axis=(0, 1))

    def draw(self, levels):
        self.asked.append(len(levels))
        return self.values.reshape(-1, *self.values.shape[2:])[:, levels]


def make_lazy(draws, factor):
    source = Source(draws.values[f"b_{factor}"])
    values = {name: value for name, value in draws.values.items() if name != f"b_{factor}"}
    return replace(draws, values=values, lazy={factor: source}), source


def test_columns_are_those_of_the_contract(school):
    draws, spec, design = fit(FORMULA, school)

    assert list(common_effects(posterior_of(draws, spec))) == ["effect", *NUMBERS]
    assert list(group_effects(posterior_of(draws, spec), "school")) == ["factor", "level", "effect", *NUMBERS]
    assert list(group_coefficients(posterior_of(draws, spec), "school")) == ["factor", "level", "effect", *NUMBERS]
    assert list(components_of(draws, spec, design)) == ["factor", "component", "effect", *NUMBERS, "share"]
    assert list(group_covariance(posterior_of(draws, spec), "school")) == ["factor", "effect_1", "effect_2", *NUMBERS]
    assert list(summary(posterior_of(draws, spec))) == ["variable", "factor", "effect", *NUMBERS]


@pytest.mark.parametrize("coverage", [0.9, 0.5])
def test_common_effects_are_described_one_by_one(coverage, school):
    draws, spec, _ = fit(FORMULA, school)
    columns = [draws.values["Intercept"], *np.moveaxis(draws.values["beta"], 2, 0)]

    assert_rows(
        common_effects(posterior_of(draws, spec), coverage=coverage),
        [("Intercept",), ("x",), ("k[b]",), ("k[c]",)],
        [describe(values, coverage=coverage) for values in columns],
    )


@pytest.mark.parametrize(
    ("formula", "effects"),
    [("0 + x + (1 | school)", ["x"]), ("(1 | school)", ["Intercept"]), ("0 + (1 | school)", [])],
)
def test_common_effects_that_a_model_lacks_have_no_row(formula, effects, school):
    draws, spec, _ = fit(formula, school)
    table = common_effects(posterior_of(draws, spec))

    assert table["effect"].tolist() == effects
    assert list(table) == ["effect", *NUMBERS]


@pytest.mark.parametrize("factor", ["school", "school:pupil"])
def test_group_effects_are_described_level_by_level(factor, school):
    draws, spec, _ = fit(FORMULA, school)
    group = next(group for group in spec.groups if group.name == factor)
    labels, numbers = [], []
    for j, level in enumerate(group.levels):
        for k, effect in enumerate(group.effect_names):
            labels.append((factor, level, effect))
            numbers.append(describe(draws.values[f"b_{factor}"][:, :, j, k], coverage=0.8))

    assert_rows(group_effects(posterior_of(draws, spec), factor, coverage=0.8), labels, numbers)


def test_levels_of_an_interaction_are_texts(school):
    draws, spec, _ = fit(FORMULA, school)

    assert group_effects(posterior_of(draws, spec), "school:pupil")["level"].tolist()[:2] == ["east:0", "east:1"]


@pytest.mark.parametrize("kind", ["int64", "float64", "bool", "datetime64[ns]"])
def test_levels_keep_their_type(kind, school):
    labels = (school["pupil"] % 2).astype("int64").astype(kind)
    draws, spec, _ = fit("(1 + x | g)", school.assign(g=labels))
    level = group_effects(posterior_of(draws, spec), "g")["level"]

    assert level.dtype == kind
    assert level.tolist() == labels.drop_duplicates().sort_values().repeat(2).tolist()


@pytest.mark.parametrize(
    ("formula", "common"),
    [
        ("x + k + (x + z | school)", {"Intercept": "Intercept", "x": 0}),
        ("0 + z + x + (x + z | school)", {"x": 1, "z": 0}),
        ("k + (k | school)", {"Intercept": "Intercept", "k[b]": 0, "k[c]": 1}),
        ("0 + (x | school)", {}),
    ],
)
def test_coefficients_are_common_plus_group_effects(formula, common, school):
    """One level and one effect at a time; 0 where no common effect matches."""
    draws, spec, _ = fit(formula, school)
    labels, numbers = [], []
    for j, level in enumerate(spec.groups[0].levels):
        for k, effect in enumerate(spec.groups[0].effect_names):
            values = draws.values["b_school"][:, :, j, k].copy()
            if common.get(effect) == "Intercept":
                values += draws.values["Intercept"]
            elif effect in common:
                values += draws.values["beta"][:, :, common[effect]]
            labels.append(("school", level, effect))
            numbers.append(describe(values))

    assert_rows(group_coefficients(posterior_of(draws, spec), "school"), labels, numbers)


def test_coefficients_predict_the_rows_of_their_level(school):
    draws, spec, design = fit("x + (x | school)", school)
    draws.means["b_school"] = draws.mean("b_school") + 1
    coefficients = group_coefficients(posterior_of(draws, spec), "school")["mean"].to_numpy().reshape(3, 2)
    factor = design.groups[0]
    posterior = posterior_of(draws, spec)

    np.testing.assert_allclose(
        np.sum(factor.Z * coefficients[factor.codes], axis=1), prediction.mean(posterior, design, {"school": "zero"})
    )


@pytest.mark.parametrize("table", [group_effects, group_coefficients])
@pytest.mark.parametrize("chunk", [1, 1000, 2_000_000])
def test_effects_that_are_not_stored_give_the_same_table(table, chunk, school):
    draws, spec, _ = fit("x + (x | school:pupil)", school)
    expected = table(posterior_of(draws, spec), "school:pupil")
    lazy, _ = make_lazy(draws, "school:pupil")
    with allow(working=chunk):
        pd.testing.assert_frame_equal(table(posterior_of(lazy, spec), "school:pupil"), expected, rtol=1e-12)
        pd.testing.assert_frame_equal(table(posterior_of(draws, spec), "school:pupil"), expected, rtol=1e-12)


@pytest.mark.parametrize("table", [group_effects, group_coefficients])
def test_levels_are_asked_for_once_and_some_at_a_time(table, school):
    """100 draws of two effects: a chunk of 1000 numbers holds five levels."""
    draws, spec, _ = fit("x + (x | school:pupil)", school)
    lazy, source = make_lazy(draws, "school:pupil")
    with allow(working=1000):
        table(posterior_of(lazy, spec), "school:pupil")

    assert source.asked == [5, 5, 5]


def test_exact_means_are_used_where_the_sampler_knows_them(school):
    draws, spec, design = fit(FORMULA, school)
    shift = {"Intercept": 3.0, "beta": 5.0, "b_school": 7.0}
    means = {name: draws.mean(name) + by for name, by in shift.items()}
    exact = replace(draws, means=means)

    common = common_effects(posterior_of(exact, spec))
    np.testing.assert_array_equal(common["mean"], [means["Intercept"], *means["beta"]])
    np.testing.assert_array_equal(group_effects(posterior_of(exact, spec), "school")["mean"], means["b_school"].ravel())
    matched = means["b_school"] + [means["Intercept"], means["beta"][0], 0.0]
    np.testing.assert_allclose(group_coefficients(posterior_of(exact, spec), "school")["mean"], matched.ravel())
    # the other columns are those of the draws
    for table in (common_effects, summary, lambda *args: group_effects(*args, "school")):
        pd.testing.assert_frame_equal(
            table(posterior_of(exact, spec)).drop(columns="mean"),
            table(posterior_of(draws, spec)).drop(columns="mean"),
            check_exact=True,
        )
    pd.testing.assert_frame_equal(components_of(exact, spec, design), components_of(draws, spec, design))


def test_components_are_described_one_by_one(school):
    draws, spec, design = fit(FORMULA, school)
    labels = [("school", "sd", effect) for effect in ("Intercept", "x", "z")] + [("school:pupil", "sd", "Intercept")]
    labels += [("school", "correlation", pair) for pair in ("Intercept:x", "Intercept:z", "x:z")]
    values = [np.moveaxis(draws.values[name], 2, 0) for name in ("sd_school", "sd_school:pupil", "corr_school")]

    assert_rows(
        components_of(draws, spec, design, coverage=0.7),
        [*labels, ("", "residual", "")],
        [describe(of, coverage=0.7) for of in [*np.concatenate(values), draws.values["sigma"]]],
    )


FORMULAS = [
    FORMULA,
    "x + (1 | school) + (1 | pupil)",
    "x + (x || school)",
    "0 + x + (1 + x | school) + (0 + k | school)",
    "x + k",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_shares_add_up_to_one(formula, school):
    table = components_of(*fit(formula, school))

    np.testing.assert_array_equal(table["share"].isna(), table["component"] == "correlation")
    assert table["share"].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_shares_of_a_factor_add_up_to_its_variance_averaged_over_rows(formula, school):
    """z'Sigma z, draw by draw and row by row."""
    draws, spec, design = fit(formula, school)
    variance = {"": draws.values["sigma"] ** 2}
    for factor in design.groups:
        of_rows = [np.einsum("cdij,i,j->cd", covariances(draws, factor), z, z) for z in factor.Z]
        variance[factor.name] = np.mean(of_rows, axis=0)
    total = sum(variance.values())
    shares = components_of(draws, spec, design).groupby("factor")["share"].sum()

    for name, part in variance.items():
        assert shares[name] == pytest.approx(np.mean(part / total), abs=1e-12)


def test_a_share_is_the_covariance_of_its_effects_part_with_the_whole_factor(school):
    """Cov(z_k b_k, z'b) where b ~ N(0, Sigma), averaged over rows: b is drawn."""
    draws, spec, design = fit("x + (x + z | school)", school)
    draws = replace(draws, values={name: values[:1, :1] for name, values in draws.values.items()})
    rng = np.random.default_rng(0)
    b = rng.multivariate_normal(np.zeros(3), covariance(draws, spec.groups[0], 0, 0), size=100_000)
    b -= b.mean(axis=0)
    parts = np.zeros(3)
    for z in design.groups[0].Z:
        parts += (z * b).T @ (b @ z) / len(b) / design.n_rows
    total = parts.sum() + draws.values["sigma"][0, 0] ** 2

    share = components_of(draws, spec, design)["share"].to_numpy()[:3]
    np.testing.assert_allclose(share, parts / total, atol=0.02)


def test_shares_of_group_intercepts_are_intraclass_correlations(school):
    draws, spec, design = fit("x + (1 | school) + (1 | pupil)", school)
    variance = [draws.flat(name).ravel() ** 2 for name in ("sd_school", "sd_pupil", "sigma")]

    np.testing.assert_allclose(
        components_of(draws, spec, design)["share"], [np.mean(of / sum(variance)) for of in variance]
    )


def test_a_share_is_negative_where_a_negative_covariance_outweighs_the_variance(school):
    """z = (1, 0.5), sds 1, correlation -0.9: parts 1 - 0.45 and 0.25 - 0.45."""
    draws, spec, _ = fit("x + (x | school)", school)
    fixed = {"sd_school": 1.0, "corr_school": -0.9, "sigma": 1.0}
    draws.values.update({name: np.full_like(draws.values[name], value) for name, value in fixed.items()})
    z = np.array([1.0, 0.5])
    table = variance_components(posterior_of(draws, spec), {"school": np.outer(z, z)}, 0.0)

    np.testing.assert_allclose(table["share"], [0.55 / 1.35, -0.2 / 1.35, np.nan, 1 / 1.35])


def test_the_share_of_a_factor_does_not_depend_on_the_zero_of_its_slopes_column(school):
    """x + 3 with b_0 - 3 b_1 is the same model."""
    draws, spec, design = fit("x + (x | school)", school)
    shift = np.array([[1.0, -3.0], [0.0, 1.0]])
    moved = shift @ covariances(draws, spec.groups[0]) @ shift.T
    sd = np.sqrt(np.diagonal(moved, axis1=2, axis2=3))
    corr = moved[..., :1, 1] / sd.prod(axis=2, keepdims=True)
    values = {**draws.values, "sd_school": sd, "corr_school": corr}
    Z = design.groups[0].Z + np.array([0.0, 3.0])
    table = variance_components(posterior_of(replace(draws, values=values), spec), {"school": Z.T @ Z / len(Z)}, 0.0)
    expected = components_of(draws, spec, design)

    assert table["share"][:2].sum() == pytest.approx(expected["share"][:2].sum())
    assert table["share"][3] == pytest.approx(expected["share"][3])


def test_all_the_variance_is_residual_without_groups(school):
    table = components_of(*fit("x", school))

    assert table[["factor", "component", "effect", "share"]].to_numpy().tolist() == [["", "residual", "", 1.0]]


@pytest.mark.parametrize("formula", ["x + (x + z | school)", "x + (x | school) + (0 + z | school)", "(1 | school)"])
def test_covariances_are_products_of_sds_and_correlations(formula, school):
    draws, spec, _ = fit(formula, school)
    group = spec.groups[0]
    Sigma = covariances(draws, group)
    block = [next(k for k, of in enumerate(group.blocks) if e in of) for e in range(len(group.effect_names))]
    labels, numbers = [], []
    for i, row in enumerate(group.effect_names):
        for j, column in enumerate(group.effect_names[: i + 1]):
            labels.append(("school", row, column))
            same = block[i] == block[j]
            numbers.append(describe(Sigma[:, :, i, j]) if same else [0.0] * 4 + [np.nan] * 3)

    # the two draws next to the median are equally far from it, which rounding decides otherwise here
    assert_rows(group_covariance(posterior_of(draws, spec), "school"), labels, numbers, r_hat_rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"group_prior": "independent"}])
def test_independent_effects_have_covariance_exactly_zero(options, school):
    bar = "|" if options else "||"
    draws, spec, _ = fit(f"x + (x + z {bar} school)", school, **options)
    table = group_covariance(posterior_of(draws, spec), "school").query("effect_1 != effect_2")

    assert len(table) == 3
    np.testing.assert_array_equal(table[NUMBERS], np.tile([0.0] * 4 + [np.nan] * 3, (3, 1)))
    assert not np.signbit(table[NUMBERS[:4]].to_numpy()).any(), "no -0.0"


@pytest.mark.parametrize("formula", [*FORMULAS, "0 + (1 | school)"])
def test_summary_is_the_posterior_in_its_order_without_group_effects(formula, school):
    draws, spec, design = fit(formula, school)
    table = summary(posterior_of(draws, spec))

    assert table["variable"].unique().tolist() == [n for n in layout(spec, GAUSSIAN) if not n.startswith("b_")]
    parts = pd.concat(
        [common_effects(posterior_of(draws, spec)), components_of(draws, spec, design)], ignore_index=True
    )
    pd.testing.assert_frame_equal(table[["effect", *NUMBERS]], parts[["effect", *NUMBERS]], rtol=1e-12)
    assert table["factor"].tolist() == parts["factor"].fillna("").tolist()


def test_one_draw_has_a_mean_and_no_spread(school):
    draws, spec, design = fit("x + (x | school)", school)
    one = replace(draws, values={name: values[:1, :1] for name, values in draws.values.items()})

    posterior = posterior_of(one, spec)
    for table in (summary(posterior), group_effects(posterior, "school"), components_of(one, spec, design)):
        assert table[["mean", "lower", "upper"]].notna().all(axis=None)
        assert table[["sd", "ess_bulk", "ess_tail", "r_hat"]].isna().all(axis=None)


@pytest.mark.parametrize("coverage", [0, 1, 90, -0.1, float("nan"), "0.9", None, True])
def test_a_coverage_outside_0_and_1_is_refused_before_anything_is_drawn(coverage, school):
    draws, spec, design = fit("x + (x | school)", school)
    lazy, source = make_lazy(draws, "school")
    calls = [
        lambda: common_effects(posterior_of(lazy, spec), coverage),
        lambda: group_effects(posterior_of(lazy, spec), "school", coverage),
        lambda: group_coefficients(posterior_of(lazy, spec), "school", coverage),
        lambda: components_of(lazy, spec, design, coverage=coverage),
        lambda: group_covariance(posterior_of(lazy, spec), "school", coverage),
        lambda: summary(posterior_of(lazy, spec), coverage),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"coverage must be a number in \(0, 1\), .* got {coverage!r}\.$"):
            call()
    assert source.asked == []


@pytest.mark.parametrize("table", [group_effects, group_coefficients, group_covariance])
def test_an_unknown_factor_is_refused(table, school):
    draws, spec, _ = fit("x + (x | school) + (1 | pupil)", school)
    with pytest.raises(ValueError, match=r"one of the grouping factors 'school', 'pupil', got 'Site'\.$"):
        table(posterior_of(draws, spec), "Site")

    draws, spec, _ = fit("x", school)
    with pytest.raises(ValueError, match=r"one of the grouping factors \(there are none\), got 'school'\.$"):
        table(posterior_of(draws, spec), "school")
