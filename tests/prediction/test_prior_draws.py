"""Prior draws against the distributions they are stated to have."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

from bayesmixed import Exponential, HalfNormal, HalfStudentT, Normal, StudentT
from bayesmixed._compat import import_pymc
from bayesmixed.chunks import allow
from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.draws import coordinates, layout
from bayesmixed.posterior.posterior import Model
from bayesmixed.prediction.prior_draws import prior_draws
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.sampling.nuts.pymc_model import build_model
from helpers.made import GAUSSIAN
from helpers.twins import common_sweep_of, where_stated

N = 4000
AS_WRITTEN = {"sd_school": HalfNormal(2)}  # priors of the user's: the block is not swept


def learn(formula, frame, user=None, lkj_eta=2.0, **options):
    y = np.random.default_rng(3).normal(5, 2, size=len(frame))
    spec, design = DesignSpec.learn(parse(formula), frame, y=y, **options)
    return spec, design, resolve_priors(design, GAUSSIAN, user, lkj_eta)


def draw(formula, frame, n_draws=N, seed=0, **options):
    """Draws, and the spec and priors they come from."""
    spec, _, priors = learn(formula, frame, **options)
    return prior_draws(Model(spec, GAUSSIAN, priors), n_draws, seed), spec, priors


def correlation_matrices(draws, factor):
    """One matrix per draw, (draws, q, q)."""
    R = np.tile(np.eye(len(factor.effect_names)), (int(np.prod(draws.shape)), 1, 1))
    for k, (i, j) in enumerate(factor.pairs):
        R[:, i, j] = R[:, j, i] = draws.flat(f"corr_{factor.name}")[:, k]
    return R


def assert_distributed(sample, distribution):
    assert stats.kstest(sample, distribution.cdf).pvalue > 1e-3


def assert_uncorrelated(columns):
    """Rank correlations of all pairs of columns are within 4.5 standard errors of zero."""
    rho = np.corrcoef(stats.rankdata(columns, axis=0), rowvar=False)

    assert np.abs(rho[np.triu_indices_from(rho, 1)]).max() < 4.5 / np.sqrt(len(columns))


@pytest.fixture
def wide_school(school):
    """School with a fourth numeric column."""
    return school.assign(w=np.random.default_rng(0).normal(size=len(school)))


FORMULAS = {
    "lkj": "x + (x | school)",
    "two blocks": "x + (1 + x | school) + (0 + z | school)",
    "crossed": "k + (1 | school) + (x | item)",
    "nested": "x + (1 | school/pupil)",
    "no groups": "x * z",
    "groups only": "(1 | school)",
    "no intercept": "0 + x + (0 + x | school)",
    "no common effects": "0 + (1 | school)",
    "intercept alone": "1",
}


@pytest.mark.parametrize("case", FORMULAS)
def test_variables_follow_the_naming_contract(case, school):
    draws, spec, _ = draw(FORMULAS[case], school, n_draws=7)
    sizes = {dim: len(values) for dim, values in coordinates(spec, GAUSSIAN).items()}
    expected = {name: (1, 7, *(sizes[dim] for dim in dims)) for name, dims in layout(spec, GAUSSIAN).items()}

    assert list(draws.values) == list(expected)
    assert {name: values.shape for name, values in draws.values.items()} == expected
    assert all(np.isfinite(values).all() for values in draws.values.values())
    assert draws.diagnostics == {"sampler": "prior"}


@pytest.mark.parametrize("case", FORMULAS)
def test_asking_for_more_does_not_change_the_first(case, school):
    few, many = (draw(FORMULAS[case], school, n_draws=n)[0] for n in (10, 50))

    for name, values in few.values.items():
        np.testing.assert_array_equal(values, many.values[name][:, :10])


@pytest.mark.parametrize("case", FORMULAS)
def test_the_seed_decides_everything(case, school):
    first, again, other = (draw(FORMULAS[case], school, n_draws=5, seed=seed)[0] for seed in (1, 1, 2))

    for name, values in first.values.items():
        np.testing.assert_array_equal(values, again.values[name])
        assert not np.any(values == other.values[name])


def test_draws_of_an_effect_do_not_depend_on_the_other_effects(school):
    small, spec, _ = draw("x + (1 | school)", school, n_draws=5)
    large, larger_spec, _ = draw("z + x + (1 | item) + (1 + z || school)", school, n_draws=5)
    at, larger_at = spec.common_names.index("x"), larger_spec.common_names.index("x")

    np.testing.assert_array_equal(small.values["sigma"], large.values["sigma"])
    np.testing.assert_array_equal(small.values["beta"][..., at], large.values["beta"][..., larger_at])


def test_draws_of_a_level_do_not_depend_on_the_other_levels(school):
    user = {"sd_school": Exponential(1)}
    whole = draw("(1 | school)", school, n_draws=5, user=user)[0]
    part = draw("(1 | school)", school[school["school"] != "east"], n_draws=5, user=user)[0]

    np.testing.assert_array_equal(part.values["b_school"], whole.values["b_school"][:, :, 1:])


def test_marginals_are_the_stated_priors(school):
    user = {
        "sd_school": {"Intercept": HalfNormal(4), "x": HalfStudentT(3, 2)},
        "z": StudentT(3, 1, 2),
        "sigma": Exponential(0.5),
    }
    draws, _, priors = draw("x + z + (x | school)", school, user=user)
    sd, beta = draws.flat("sd_school"), draws.flat("beta")

    assert_distributed(sd[:, 0], stats.halfnorm(scale=priors.group_sd["school"]["Intercept"].sigma))
    assert_distributed(sd[:, 1] ** 2 / 4, stats.f(1, 3))  # the square of a t with 3 degrees of freedom
    assert_distributed(beta[:, 0], stats.norm(0, priors.common["x"].sigma))
    assert_distributed(beta[:, 1], stats.t(3, 1, 2))
    assert_distributed(draws.flat("sigma"), stats.expon(scale=2))


def where_drawn(draws, spec, priors):
    """Draws of (Intercept, beta), and of the first factor's sds and correlations, where their priors are stated."""
    written = np.column_stack([draws.flat("Intercept"), draws.flat("beta")])
    common = np.linalg.solve(common_sweep_of(priors), written.T).T
    factor = spec.groups[0]
    sds = draws.flat(f"sd_{factor.name}")
    found = [
        where_stated(priors, factor, sd, R) for sd, R in zip(sds, correlation_matrices(draws, factor), strict=True)
    ]
    rows, columns = np.transpose(factor.pairs)
    return common, np.array([sd for sd, _ in found]), np.array([R[rows, columns] for _, R in found])


def test_swept_parameters_have_the_stated_priors_where_these_are_stated(school):
    draws, spec, priors = draw("x*z + I(x ** 2) + (x*z | school)", school.assign(x=school["x"] + 7))
    common, sds, corr = where_drawn(draws, spec, priors)

    for values, prior in zip(common.T, [priors.intercept, *priors.common.values()], strict=True):
        assert_distributed(values, stats.norm(prior.mu, prior.sigma))
    for values, prior in zip(sds.T, priors.group_sd["school"].values(), strict=True):
        assert_distributed(values, stats.halfnorm(scale=prior.sigma))
    for values in corr.T:
        assert_distributed(values, stats.beta(3, 3, loc=-1, scale=2))  # LKJ(2) of four effects
    assert_uncorrelated(np.column_stack([common, sds]))


def test_variables_with_priors_of_their_own_are_independent(school):
    draws, spec, priors = draw("x + z + (x | school) + (1 | item)", school)
    common, sds, corr = where_drawn(draws, spec, priors)

    assert_uncorrelated(np.column_stack([common, draws.flat("sigma"), sds, corr, draws.flat("sd_item")]))


def test_the_default_intercept_prior_holds_at_the_centre_of_the_data(school):
    draws, spec, priors = draw("z + k", school)
    centre = np.array([priors.swept[name]["Intercept"] for name in spec.common_names])

    assert np.all(centre > 0)
    stated = stats.norm(priors.intercept.mu, priors.intercept.sigma)
    assert_distributed(draws.flat("Intercept") + draws.flat("beta") @ centre, stated)
    assert stats.kstest(draws.flat("Intercept"), stated.cdf).pvalue < 1e-6


def test_an_intercept_prior_of_the_user_holds_at_zero(school):
    draws, _, _ = draw("z + k", school, user={"Intercept": Normal(3, 2)})

    assert_distributed(draws.flat("Intercept"), stats.norm(3, 2))


@pytest.mark.parametrize("eta", [0.6, 1.0, 2.5])
@pytest.mark.parametrize("q", [2, 3, 4])
def test_every_correlation_has_the_marginal_of_lkj(q, eta, wide_school):
    """(r + 1) / 2 ~ Beta(a, a) with a = eta - 1 + q / 2."""
    slopes = " + ".join(["x", "z", "w"][: q - 1])
    draws, _, _ = draw(f"x + ({slopes} | school)", wide_school, lkj_eta=eta, user=AS_WRITTEN)
    a = eta - 1 + q / 2

    assert draws.flat("corr_school").shape == (N, q * (q - 1) // 2)
    for r in draws.flat("corr_school").T:
        assert_distributed((r + 1) / 2, stats.beta(a, a))


@pytest.mark.parametrize("q", [3, 4])
def test_correlation_matrices_equal_a_rejection_sampler(q, wide_school):
    """Uniform correlations, kept where they are positive definite with probability det(R)^(eta - 1)."""
    eta = 2.5
    rng = np.random.default_rng(8)
    candidates = np.tile(np.eye(q), (200_000, 1, 1))
    for i, j in zip(*np.triu_indices(q, 1), strict=True):
        candidates[:, i, j] = candidates[:, j, i] = rng.uniform(-1, 1, size=len(candidates))
    valid = np.linalg.eigvalsh(candidates)[:, 0] > 0
    density = np.where(valid, np.abs(np.linalg.det(candidates)), 0.0) ** (eta - 1)
    expected = candidates[rng.uniform(size=len(candidates)) < density]

    slopes = " + ".join(["x", "z", "w"][: q - 1])
    draws, spec, _ = draw(f"x + ({slopes} | school)", wide_school, lkj_eta=eta, user=AS_WRITTEN)
    R = correlation_matrices(draws, spec.groups[0])

    assert len(expected) > N
    for statistic in (
        np.linalg.det,
        lambda R: np.linalg.det(R[:, 1:, 1:]),  # the vine treats the first effect unlike the others
        lambda R: np.linalg.eigvalsh(R)[:, -1],
        lambda R: R[:, 0, 1] * R[:, 0, 2],
        lambda R: R[:, 0, 1] * R[:, 1, 2] * R[:, 0, 2],
    ):
        assert stats.ks_2samp(statistic(R), statistic(expected)).pvalue > 1e-3


@pytest.mark.parametrize("eta", [0.6, 2.5])
@pytest.mark.parametrize("q", [2, 3, 4])
def test_log_determinant_has_the_mean_of_lkj(q, eta, wide_school):
    """The derivative, by eta, of the log of the integral of det(R)^(eta - 1): Gamma_q(a) / Gamma(a)^q.

    That integral is known from the correlations of a Wishart matrix with 2a = 2 eta + q - 1 degrees of freedom.
    """
    slopes = " + ".join(["x", "z", "w"][: q - 1])
    draws, spec, _ = draw(f"x + ({slopes} | school)", wide_school, lkj_eta=eta, user=AS_WRITTEN)
    log_det = np.linalg.slogdet(correlation_matrices(draws, spec.groups[0]))[1]
    a = eta + (q - 1) / 2
    expected = digamma(a - np.arange(q) / 2).sum() - q * digamma(a)

    assert log_det.mean() == pytest.approx(expected, abs=4 * log_det.std() / np.sqrt(N))


def test_correlation_matrices_are_positive_definite(wide_school):
    draws, spec, _ = draw("x + (1 + x + z | school) + (0 + w | school) + (x | item)", wide_school, lkj_eta=1.0)

    for factor in spec.groups:
        assert np.linalg.eigvalsh(correlation_matrices(draws, factor)).min() > 0


def test_group_effects_given_their_covariance_are_normal_and_independent(school):
    draws, spec, _ = draw("x + (x + z | school)", school, user=AS_WRITTEN)
    sd, b = draws.flat("sd_school"), draws.flat("b_school")
    L = np.linalg.cholesky(sd[:, :, None] * correlation_matrices(draws, spec.groups[0]) * sd[:, None, :])
    z = np.linalg.solve(L, np.swapaxes(b, 1, 2)).reshape(N, -1)  # q * n_levels columns

    assert_uncorrelated(np.column_stack([z, sd, draws.flat("corr_school")]))
    assert_uncorrelated(np.column_stack([np.abs(z), sd]))
    for column in z.T:
        assert_distributed(column, stats.norm)


def test_effects_of_different_blocks_do_not_correlate(school):
    """The products of two scaled effects have mean r inside a block, and 0, whatever r, across blocks."""
    draws, spec, _ = draw("x + (1 + x | school) + (0 + z | school)", school)
    scaled = draws.flat("b_school") / draws.flat("sd_school")[:, None, :]
    r = draws.flat("corr_school")[:, 0]

    assert spec.groups[0].pairs == ((0, 1),)
    for i, j, slope in [(0, 1, 1), (0, 2, 0), (1, 2, 0)]:
        line = stats.linregress(r, (scaled[:, :, i] * scaled[:, :, j]).mean(axis=1))
        assert line.slope == pytest.approx(slope, abs=4 * line.stderr)
        assert line.intercept == pytest.approx(0, abs=4 * line.intercept_stderr)


def test_independent_effects_have_no_correlations(school):
    draws, _, _ = draw("x + (x | school)", school, group_prior="independent")

    assert "corr_school" not in draws.values
    assert_uncorrelated((draws.flat("b_school") / draws.flat("sd_school")[:, None, :]).reshape(N, -1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
def test_draws_agree_with_pymcs(school):
    pm = import_pymc()
    spec, design, priors = learn("z + (x + z | school)", school, lkj_eta=1.5)
    ours = prior_draws(Model(spec, GAUSSIAN, priors), N, seed=0)
    names = list(layout(spec, GAUSSIAN))
    with build_model(Model(None, GAUSSIAN, priors), design):
        theirs = pm.sample_prior_predictive(N, var_names=names, random_seed=1)

    for name in names:
        mine, other = ours.flat(name).reshape(N, -1), theirs.prior[name].to_numpy().reshape(N, -1)
        for k in range(mine.shape[1]):
            assert stats.ks_2samp(mine[:, k], other[:, k]).pvalue > 1e-3
        if name == "b_school":  # two effects of one level, two levels of one effect
            for i, j in ((0, 1), (1, 2), (0, 3)):
                assert stats.ks_2samp(mine[:, i] * mine[:, j], other[:, i] * other[:, j]).pvalue > 1e-3


def test_effects_that_are_too_many_to_store_are_drawn_on_demand(school):
    stored, spec, priors = draw("x + (x | school)", school, n_draws=30)
    with allow(stored=0):
        lazy = prior_draws(Model(spec, GAUSSIAN, priors), 30, 0)

    assert "b_school" not in lazy.values
    np.testing.assert_array_equal(lazy.effects("school", np.array([2, 0])), stored.flat("b_school")[:, [2, 0]])
    assert not lazy.mean("b_school").any()
