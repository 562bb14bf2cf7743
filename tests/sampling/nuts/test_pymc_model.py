"""The PyMC model against a density written with SciPy, at random points."""

import numpy as np
import pytest
from scipy import stats

from bayesmixed import Exponential, HalfNormal, Normal, StudentT
from bayesmixed._compat import import_pymc
from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.sampling.nuts.pymc_model import build_model
from helpers.twins import common_sweep_of, sweep_of, where_stated

FAMILY = get_family("gaussian")
MODE = "FAST_COMPILE"  # plain Python: a few evaluations are not worth a compiler

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")]


def learn(formula, frame, user=None, weights=None, lkj_eta=2.0, **options):
    y = np.random.default_rng(3).normal(5, 2, size=len(frame))
    design = DesignSpec.learn(parse(formula), frame, y=y, weights=weights, **options)[1]
    return design, resolve_priors(design, FAMILY, user, lkj_eta)


def random_points(model, n, seed=0):
    """Unconstrained points, and the value of every variable there."""
    rng = np.random.default_rng(seed)
    start = model.initial_point()
    names = [*model.named_vars]
    values = model.replace_rvs_by_values([model[name] for name in names])
    evaluate = model.compile_fn(values, inputs=model.value_vars, on_unused_input="ignore", point_fn=True, mode=MODE)
    for _ in range(n):
        point = {
            name: np.asarray(v + rng.normal(scale=0.5, size=np.shape(v)), dtype=float) for name, v in start.items()
        }
        yield point, dict(zip(names, evaluate(point), strict=True))


def scipy_log_density(design, priors, v):
    """The model as one would write it on paper, one loop per row."""
    total = 0.0
    beta = {name: v["beta"][k] for k, name in enumerate(design.common_names)}
    intercept = v["Intercept"] if design.has_intercept else 0.0
    written = [*([intercept] if design.has_intercept else []), *beta.values()]
    stated = np.linalg.solve(common_sweep_of(priors), written)
    of = [*([priors.intercept] if design.has_intercept else []), *priors.common.values()]
    total += sum(prior.log_density(value) for prior, value in zip(of, stated, strict=True))
    eta = np.full(design.n_rows, float(intercept)) + (0 if design.offset is None else design.offset)
    for i in range(design.n_rows):
        eta[i] += sum(design.X[i, k] * beta[name] for k, name in enumerate(beta))
    for factor in design.groups:
        name = factor.name
        sd = v[f"sd_{name}"]
        R = np.eye(len(sd))
        for k, (i, j) in enumerate(factor.pairs):
            R[i, j] = R[j, i] = v[f"corr_{name}"][k]
        sd, R = where_stated(priors, factor, sd, R)
        total += sum(priors.group_sd[name][e].log_density(sd[k]) for k, e in enumerate(factor.effect_names))
        total += stats.norm.logpdf(v[f"z_{name}"]).sum()
        T = sweep_of(priors.group_swept.get(name, {}), factor.effect_names)
        b = v[f"z_{name}"] @ (T @ (sd[:, None] * np.linalg.cholesky(R))).T
        np.testing.assert_allclose(b, v[f"b_{name}"], atol=1e-10)
        for block in factor.blocks:
            if len(block) > 1:
                total += lkj_of_partials(v[f"partial_{name}"], factor, block, priors.lkj_eta[name])
        for i in range(design.n_rows):
            eta[i] += factor.Z[i] @ b[factor.codes[i]]
    total += priors.auxiliary["sigma"].log_density(v["sigma"])
    weights = np.ones(design.n_rows) if design.weights is None else design.weights
    return total + np.sum(weights * stats.norm.logpdf(design.y, eta, v["sigma"]))


def lkj_of_partials(u, factor, block, eta):
    """LKJ(eta) in the partial correlations: independent Beta densities."""
    q = len(block)
    total = 0.0
    for k, (i, j) in enumerate(factor.pairs):
        if i in block and j in block:
            alpha = eta + (q - 2 - block.index(i)) / 2
            total += stats.beta.logpdf(u[k], alpha, alpha)
    return total


CASES = {
    "lkj": ("x + (x | school)", {}),
    "independent": ("x + (x | school)", {"group_prior": "independent"}),
    "three effects": ("x + z + (x + z | school)", {"lkj_eta": 1.3}),
    "two blocks": ("x + (1 + x | school) + (0 + z | school)", {}),
    "crossed": ("k + (1 | school) + (x | item)", {}),
    "nested": ("x + (1 | school/pupil)", {}),
    "no groups": ("x * z", {}),
    "groups only": ("(1 | school)", {}),
    "no intercept": ("0 + x + (0 + x | school)", {}),
    "offset": ("x + offset(z) + (1 | school)", {}),
    "intercept at zero": ("x + z + (1 | school)", {"user": {"Intercept": Normal(3, 2)}}),
    "bounded intercept": ("z + (1 | school)", {"user": {"Intercept": HalfNormal(10)}}),
    "mixed priors": ("x + z + k", {"user": {"x": HalfNormal(1), "z": StudentT(3, 0, 1), "sigma": Exponential(1)}}),
    "mixed sds": ("x + (x | school)", {"user": {"sd_school": {"x": Exponential(2.0)}}}),
    "swept": ("x*z + k:x + (x*z | school)", {}),
    "swept, independent": ("x*z + (x*z | school)", {"group_prior": "independent"}),
    "swept, no intercept": ("0 + k + k:x + (0 + k + k:x | school)", {}),
    "swept beside the user's": (
        "x*z + I(x ** 2) + (x*z | school)",
        {"user": {"x": StudentT(4, 1, 2), "sd_school": {"z": Exponential(2.0)}}},
    ),
    "the user's block beside swept": ("x*z + (x | school)", {"user": {"sd_school": HalfNormal(2)}}),
    "swept, weights": ("x*k + (x + k | school)", {"weights": np.arange(60) % 4 + 0.5}),
    "weights": ("x + (x | school)", {"weights": np.arange(60) % 4 + 0.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_log_density_equals_scipys(case, school):
    formula, options = CASES[case]
    design, priors = learn(formula, school, **options)
    model = build_model(Model(None, FAMILY, priors), design)
    log_density = model.compile_logp(jacobian=False, mode=MODE)

    for point, values in random_points(model, 5):
        assert float(log_density(point)) == pytest.approx(scipy_log_density(design, priors, values), rel=1e-9)


@pytest.mark.parametrize("q", [2, 3, 4])
def test_partial_correlations_give_lkj(q, school):
    """log p(partials) - log |dR / d partials| - (eta - 1) log det R is constant: the definition of LKJ."""
    names = ["x", "z", "w"][: q - 1]
    frame = school.assign(w=np.random.default_rng(0).normal(size=60))
    eta = 1.7
    user = {"sd_school": HalfNormal(2)}  # states the block as it is written
    design, priors = learn(f"x + ({' + '.join(names)} | school)", frame, user, lkj_eta=eta)
    model = build_model(Model(None, FAMILY, priors), design)
    factor = design.groups[0]
    value_of = model.rvs_to_values[model["partial_school"]]
    corr = model.compile_fn(
        model.replace_rvs_by_values([model["corr_school"]])[0],
        inputs=[value_of],
        on_unused_input="ignore",
        point_fn=False,
        mode=MODE,
    )
    log_density = model.compile_logp(vars=[model["partial_school"]], jacobian=True, mode=MODE)

    constants = []
    for point, values in random_points(model, 6):
        at = point[value_of.name]
        columns = []
        for k in range(len(at)):
            step = np.zeros_like(at)
            step[k] = 1e-6
            columns.append((np.ravel(corr(at + step)) - np.ravel(corr(at - step))) / 2e-6)
        R = np.eye(q)
        for k, (i, j) in enumerate(factor.pairs):
            R[i, j] = R[j, i] = values["corr_school"][k]
        jacobian = np.linalg.slogdet(np.column_stack(columns))[1]
        constants.append(float(log_density(point)) - jacobian - (eta - 1) * np.linalg.slogdet(R)[1])

    np.testing.assert_allclose(constants, constants[0], atol=1e-6)


@pytest.mark.parametrize("q", [2, 3])
def test_a_covariance_sampled_at_the_mean_has_the_stated_prior(q, school):
    """With a slope far from zero, the sampled density is p(sd) LKJ(R) |d(sd, R) / d(sampled)|, sd and R at zero."""
    eta = 1.7
    frame = school.assign(year=2000 + school["item"])
    user = {"sd_school": {"Intercept": HalfNormal(500)}}  # states the block at year 0
    with pytest.warns(UserWarning, match="far outside the data"):
        design, priors = learn(f"year + ({'year' if q == 2 else 'year + x'} | school)", frame, user, lkj_eta=eta)
    model = build_model(Model(None, FAMILY, priors), design)
    factor = design.groups[0]
    sampled = [model["sd_school_at_mean"], model["partial_school"]]
    inputs = [model.rvs_to_values[variable] for variable in sampled]
    stated = model.compile_fn(
        model.replace_rvs_by_values([model["sd_school"], model["corr_school"]]),
        inputs=inputs,
        on_unused_input="ignore",
        point_fn=False,
        mode=MODE,
    )
    log_density = model.compile_logp(vars=[*sampled, *model.potentials], jacobian=True, mode=MODE)

    constants = []
    for point, values in random_points(model, 6):
        at = np.concatenate([point[value.name] for value in inputs])

        def stated_at(x):
            return np.concatenate([np.ravel(part) for part in stated(x[:q], x[q:])])

        steps = np.eye(len(at)) * 1e-5
        columns = [(stated_at(at + step) - stated_at(at - step)) / 2e-5 for step in steps]
        R = np.eye(q)
        for k, (i, j) in enumerate(factor.pairs):
            R[i, j] = R[j, i] = values["corr_school"][k]
        prior = sum(
            priors.group_sd["school"][effect].log_density(values["sd_school"][k])
            for k, effect in enumerate(factor.effect_names)
        )
        jacobian = np.linalg.slogdet(np.column_stack(columns))[1]
        constants.append(float(log_density(point)) - prior - (eta - 1) * np.linalg.slogdet(R)[1] - jacobian)

    np.testing.assert_allclose(constants, constants[0], atol=1e-3)


def test_what_is_sampled_in_place_of_swept_parameters_is_named(school):
    design, priors = learn("x*z + (x | school)", school)
    model = build_model(Model(None, FAMILY, priors), design)

    assert {v.name for v in model.free_RVs} == {
        *("Intercept_centred", "beta_swept", "sd_school_swept", "partial_school", "z_school", "sigma")
    }
    assert {"Intercept", "beta", "sd_school", "corr_school", "b_school"} <= {v.name for v in model.deterministics}


def test_every_variable_has_labelled_dims(school):
    design, priors = learn("x + k + (x | school) + (1 | item)", school)
    model = build_model(Model(None, FAMILY, priors), design, obs=np.array([f"row {i}" for i in range(60)]))

    dims = {name: model.named_vars_to_dims.get(name) for name in ("beta", "sd_school", "corr_school", "b_school", "y")}
    assert dims == {
        "beta": ("common_effect",),
        "sd_school": ("school_effect",),
        "corr_school": ("school_pair",),
        "b_school": ("school", "school_effect"),
        "y": ("obs",),
    }
    assert tuple(model.coords["common_effect"]) == ("x", "k[b]", "k[c]")
    assert tuple(model.coords["school"]) == ("east", "north", "south")
    assert tuple(model.coords["school_pair"]) == ("Intercept:x",)
    assert model.coords["obs"][3] == "row 3"
    assert [v.name for v in model.observed_RVs] == ["y"]


def test_a_block_of_one_effect_has_no_correlation(school):
    design, priors = learn("x + (x || school)", school)
    model = build_model(Model(None, FAMILY, priors), design)

    assert not [name for name in model.named_vars if "corr" in name or "partial" in name]


def test_prior_draws_have_the_stated_scale(school):
    pm = import_pymc()
    design, priors = learn("x + (x | school)", school, user={"sd_school": HalfNormal(3)})
    with build_model(Model(None, FAMILY, priors), design) as model:
        drawn = pm.draw([model["sd_school"], model["corr_school"], model["beta"]], draws=4000, random_seed=1)

    assert stats.kstest(drawn[0][:, 1], stats.halfnorm(scale=3).cdf).pvalue > 1e-3
    assert stats.kstest(drawn[1][:, 0], stats.beta(2, 2, loc=-1, scale=2).cdf).pvalue > 1e-3
    assert stats.kstest(drawn[2][:, 0], stats.norm(0, priors.common["x"].sigma).cdf).pvalue > 1e-3
