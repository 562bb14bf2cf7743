"""The collapsed density against PyMC: p(all, y) = p(covariances, sigma, y) p(effects | covariances, sigma, y)."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma
from test_pymc_model import MODE, random_points

from bayesmixed import Exponential, Normal
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.posterior.posterior import Model
from bayesmixed.sampling.nuts.pymc_model import build_model
from helpers.collapsed_twins import FAMILY, dense_posterior, evaluate, learn, make_frame
from helpers.twins import where_stated

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")]

SLEEP = load_sleepstudy()
FRAME = make_frame()
USER = {"Intercept": Normal(3, 2), "sd_school": {"x": Exponential(0.5)}, "sigma": Exponential(0.4)}
CASES = {
    "sleepstudy": ("Days + (Days | Subject)", SLEEP, {"y": SLEEP["Reaction"].to_numpy()}),
    "independent": ("x + k + (x || school)", FRAME, {}),
    "three effects": ("x + (x + z | school)", FRAME, {"lkj_eta": 1.3}),
    "two blocks": ("(1 + x | school) + (0 + z | school)", FRAME, {}),
    "nested": ("x + (x | town/school)", FRAME, {}),
    "crossed": ("x + (x | school) + (1 | item)", FRAME, {}),
    "swept": ("x*z + k:x + (x*z | school)", FRAME, {}),
    "swept beside the user's": (
        "x*z + I(x ** 2) + (x*z | school)",
        FRAME,
        {"user": {"x": Normal(1, 2), "sd_school": {"z": Exponential(1)}}},
    ),
    "swept, no intercept": ("0 + k + k:x + (0 + k + k:x | school)", FRAME, {}),
    "swept, far": ("dose*x + (dose | school)", FRAME, {}),
    "weights": ("x + (1 | school)", FRAME, {"weights": np.arange(40) % 3 + 0.5}),
    "user's priors": ("z + (x | school)", FRAME, {"user": USER}),
    "no intercept": ("0 + x + offset(z) + (0 + x | school)", FRAME, {}),
}


def as_matrix(factor, values):
    """A factor's sds and correlation matrix, as written."""
    R = np.eye(len(factor.effect_names))
    for k, pair in enumerate(factor.pairs):
        R[pair] = R[pair[::-1]] = values[f"corr_{factor.name}"][k]
    return values[f"sd_{factor.name}"], R


def coordinates(model, values):
    """(theta, s) of values of PyMC's variables, and the log of |d (sds, partials, sigma) / d (theta, s)|."""
    design, priors, density = model
    s = np.log(values["sigma"] / density.units.scaling.y_scale)
    log_lambda, v, log_jacobian = [], [], np.log(values["sigma"])
    for factor, own in zip(design.groups, density.covariances.factors, strict=True):
        sd, _ = where_stated(priors, factor, *as_matrix(factor, values))
        log_lambda.append(np.log(sd / own.scale) - s)
        log_jacobian += np.log(sd).sum()
        for block in factor.blocks:
            for k in range(1, len(block)):
                for i in range(k):
                    partial = 2 * values[f"partial_{factor.name}"][factor.pairs.index((block[i], block[k]))] - 1
                    alpha = priors.lkj_eta[factor.name] + (len(block) - 2 - i) / 2
                    v.append(np.arctanh(partial) / np.sqrt(polygamma(1, alpha) / 2))
                    log_jacobian += np.log(1 - partial**2)
    return np.concatenate([*log_lambda, v]), s, log_jacobian


def log_density_of_effects(model, values):
    """Log density of (Intercept, beta, z_1, ...) given y: that of b = root z, times |root| for every level."""
    design, priors, _ = model
    effects = [values["Intercept"]] if design.has_intercept else []
    effects += list(values["beta"]) if design.common_names else []
    groups, log_jacobian = [], 0.0
    for factor in design.groups:
        sd, R = as_matrix(factor, values)
        groups.append((sd, R))
        effects += list(values[f"b_{factor.name}"].ravel())
        log_jacobian += len(factor.levels) * (np.log(sd).sum() + 0.5 * np.linalg.slogdet(R)[1])
    mean, covariance = dense_posterior(design, priors, float(values["sigma"]), groups)
    normal = stats.multivariate_normal(mean, covariance, allow_singular=True)
    return normal.logpdf(np.array(effects, dtype=float)) + log_jacobian


@pytest.mark.parametrize("case", CASES)
def test_the_joint_density_is_collapsed_times_conditional(case):
    """At random values of all parameters; the difference is LKJ's constant and that of the units."""
    formula, frame, options = CASES[case]
    model = learn(formula, frame, **options)
    pymc_model = build_model(Model(None, FAMILY, model.priors), model.design)
    joint = pymc_model.compile_logp(jacobian=False, mode=MODE)
    differences = []
    for point, values in random_points(pymc_model, 6):
        theta, s, log_jacobian = coordinates(model, values)
        collapsed = evaluate(model.density, theta[:, None], np.array([s]))[0] - log_jacobian
        differences.append(float(joint(point)) - collapsed - log_density_of_effects(model, values))

    # the dense covariance of products far from zero, as written, has lost six digits
    assert np.ptp(differences) < (1e-4 if case == "swept, far" else 1e-6)
