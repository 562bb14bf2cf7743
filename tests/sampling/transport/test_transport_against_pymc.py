"""The target against the reference model in PyMC, up to a constant."""

import numpy as np
import pytest

from bayesmixed.sampling.nuts.pymc_model import build_model
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.start import find_start
from helpers.transport_twins import log_slope, make_model, make_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning"),
]
MODE = "FAST_COMPILE"  # in Python: nothing is compiled
FRAME = make_rows()
MODELS = {
    "poisson, 3 nested": ("poisson", None, "x + offset(log(time)) + (1 | a) + (1 | b) + (1 | c)"),
    "binomial, crossed": ("binomial", "logit", "x + v + (1 | a) + (1 | h)"),
    "gamma, independent": ("gamma", None, "x + (x || a)"),
    "negative binomial": ("negativebinomial", None, "(1 | a)"),
    "beta": ("beta", "logit", "x + (1 | a)"),
    "poisson, no intercept": ("poisson", None, "0 + x + (0 + x | a)"),
    "binomial, no common effects": ("binomial", "probit", "0 + (1 | a)"),
    "t": ("t", None, "x + (1 | a)"),
    "cumulative": ("cumulative5", "logit", "x + (1 | a)"),
    "cumulative, probit, 3 classes": ("cumulative3", "probit", "x + v + offset(log(time)) + (1 | a) + (1 | h)"),
}


@pytest.mark.parametrize("weights", [None, np.arange(len(FRAME)) % 3 + 0.5], ids=["", "weights"])
@pytest.mark.parametrize("name", MODELS)
def test_the_target_is_pymcs_density_but_for_a_constant(name, weights):
    model, design = make_model(*MODELS[name], FRAME, weights=weights)
    prepared = Prepared.of(model, design)
    target = find_start(prepared.rows, prepared.parameters)
    size = prepared.rows.layout.size
    x = np.random.default_rng(0).standard_normal((size + target.coordinates.parameters.dimension, 5))
    state, evaluate = target.evaluate(x), density_of(build_model(model, design))
    # PyMC's density is one of standard normal effects, and of sds and auxiliary parameters, not of their logarithms
    found = [evaluate(point_of(prepared, design, state, k)) + change(prepared, state, k) for k in range(5)]
    expected = [state.log_density[k] - log_slope(target, x[:, k]) for k in range(5)]

    assert np.ptp(expected) > 1
    np.testing.assert_allclose(np.subtract(found, expected), found[0] - expected[0], atol=1e-6)


def point_of(prepared, design, state, k):
    """Values of what PyMC samples, by the start of its name, at chain k."""
    layout, points = prepared.rows.layout, state.points
    gamma = prepared.common_mean + prepared.common_root @ layout.common(state.w)[:, k]
    values = {"beta": gamma[int(design.has_intercept) :]}
    if design.has_intercept:
        values["Intercept"] = gamma[0]
    first = len(points.x) - len(points.auxiliary)
    for at, name in enumerate(points.auxiliary):  # of gaps[a] and gaps[b] PyMC has a vector
        variable, bracket, _ = name.partition("[")
        own = points.x[first + at, k]
        values[variable] = np.append(values.get(variable, ()), own) if bracket else own
    for i, f in enumerate(layout.factors):
        name, root = design.groups[f].name, points.roots[f]
        sd, _ = prepared.units.group_covariance(f, root[..., [k]])
        values[f"sd_{name}"] = np.log(sd[:, 0])
        values[f"z_{name}"] = np.linalg.solve(root[..., k], layout.own(state.w, i)[..., k]).T
    return values


def change(prepared, state, k):
    """Log of the volume that goes from these values to effects and logarithms."""
    layout, points = prepared.rows.layout, state.points
    roots = [layout.n_levels[i] * np.linalg.slogdet(points.roots[f][..., k])[1] for i, f in enumerate(layout.factors)]
    return points.x[:, k].sum() - sum(roots)


def density_of(model):
    """A function of such values: the log density of the model's own variables there."""
    compiled = model.compile_logp(jacobian=False, mode=MODE)

    def at(values):
        point = {}
        for variable in model.value_vars:
            name = max((own for own in values if variable.name.startswith(own)), key=len)
            point[variable.name] = np.asarray(values[name])
        return float(compiled(point))

    return at
