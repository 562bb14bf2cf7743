"""The target of the transport sampler in untransformed coordinates, term by term; and models to try it on."""

import numpy as np
import pandas as pd
from scipy import stats

from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.resolve import resolve_priors
from helpers.made import with_responses
from helpers.ordered_twins import ordered


def make_rows(n=90, J=9, seed=0):
    """Columns for every family, and factors that are nested (`a` in `b` in `c`) or cross (`h`)."""
    rng = np.random.default_rng(seed)
    a = np.arange(n) % J
    h = rng.permutation(n) % 5
    x, v = rng.normal(size=n), rng.normal(size=n)
    eta = 0.3 + 0.5 * x + rng.normal(0, 0.6, J)[a] + rng.normal(0, 0.4, 5)[h]
    frame = pd.DataFrame({"x": x, "v": v, "w": rng.normal(size=n), "a": a, "b": a // 2, "c": a // 4, "h": h})
    frame["n"], frame["time"] = rng.integers(1, 9, n), rng.uniform(1, 5, n)
    return with_responses(frame, eta, rng)


# every family and link, q of 1 to 4, nested and crossed factors, offsets, independent effects; no groups, no common
# effects, and no parameters beside these
MODELS = {
    "binomial, logit": ("binomial", "logit", "x + (1 | a)"),
    "binomial, probit, q=2": ("binomial", "probit", "x + (x | a)"),
    "binomial, cloglog, 2 nested": ("binomial", "cloglog", "x + (x | a) + (v | b)"),
    "poisson, offset, 3 nested": ("poisson", None, "x + offset(log(time)) + (1 | a) + (x | b) + (1 | c)"),
    "negative binomial": ("negativebinomial", None, "x + (x || a)"),
    "gamma": ("gamma", None, "x + (x | a)"),
    "beta": ("beta", "logit", "x + (1 | a)"),
    "beta, cloglog": ("beta", "cloglog", "x + v + (1 | a)"),
    "t": ("t", None, "x + (x | a)"),
    "poisson, crossed, q=2 and q=2": ("poisson", None, "x + (x | a) + (v | h)"),
    "binomial, q=4": ("binomial", "logit", "x + v + (x + v + w | a)"),
    "t, nested and crossed": ("t", None, "x + (x | a) + (1 | b) + (1 | h)"),
    "gamma, no groups": ("gamma", None, "x + v"),
    "poisson, effects alone": ("poisson", None, "x + v"),
    "binomial, no common effects, 2 nested": ("binomial", "logit", "0 + (1 | a) + (1 | b)"),
    "t, no common effects, crossed": ("t", None, "0 + (x | a) + (1 | h)"),
    "binomial, no intercept": ("binomial", "logit", "0 + x + (0 + x | a)"),
    "gaussian": ("gaussian", None, "x + (x | a)"),
    "cumulative K=5": ("cumulative5", "logit", "x + (1 | a)"),
    "cumulative K=3, probit, q=2, offset": ("cumulative3", "probit", "x + offset(log(time)) + (x | a)"),
    "cumulative K=5, probit, 2 nested": ("cumulative5", "probit", "x + (x | a) + (v | b)"),
    "cumulative K=3, crossed": ("cumulative3", "logit", "x + (x | a) + (1 | h)"),
    "cumulative K=2": ("cumulative2", "logit", "x + (1 | a)"),
    "cumulative K=5, no groups": ("cumulative5", "logit", "x + v"),
}


def make_model(family, link, formula, frame, *, weights=None, priors=None):
    """A `Model`, and the design of its rows."""
    name, _, K = family.partition("cumulative")
    own = ordered(link, int(K)) if K else get_family(name, link)
    y = frame[family].to_numpy(float)
    trials = "n" if own.counts_trials else None
    spec, design = DesignSpec.learn(parse(formula), frame, trials=trials, y=y, weights=weights)
    return Model(spec, own, resolve_priors(design, own, priors)), design


def untransformed(prepared, design, priors, w, x):
    """Log of p(y, w, x) at one point, effects w (size,) in the sampler's units and parameters x (d,).

    The linear predictor is made of the effects on the user's scale, as predictions are.
    """
    rows, parameters = prepared.rows, prepared.parameters
    points = parameters.at(x[:, None])
    auxiliary = {name: float(values[0]) for name, values in points.auxiliary.items()}
    total = float(points.log_prior[0])
    units, layout = prepared.units, rows.layout
    eta = np.zeros(design.n_rows) if design.offset is None else design.offset
    for i, f in enumerate(layout.factors):
        b, root = layout.own(w, i), points.roots[f][..., 0]
        total += stats.multivariate_normal(cov=root @ root.T, allow_singular=False).logpdf(b.T).sum()
        factor = design.groups[f]
        eta = eta + (factor.Z * units.group_effects(f, b)[:, factor.codes].T).sum(axis=1)
    u = layout.common(w)
    total += stats.norm.logpdf(u).sum()
    stated = units.stated_prior(design, priors)
    gamma = np.linalg.solve(stated[:, :-1], u + stated[:, -1])  # u is the prior's standard normal
    intercept, beta = units.common_effects(gamma)
    eta = eta + design.X @ beta + (0.0 if intercept is None else intercept)
    density = rows.family.log_density
    trials = {} if design.trials is None else {"trials": design.trials}
    each = density(design.y, eta, **auxiliary, **trials)
    return total + float(each @ (np.ones_like(each) if design.weights is None else design.weights))


def log_slope(target, x):
    """Log determinant of d(w, parameters) / d(z, t) at one point (size + d,), by differences of the map."""
    size = target.rows.layout.size
    t = x[size:, None]
    factorised = target.transport(target.coordinates.at(t))
    origin = factorised.effects(np.zeros((size, 1)))
    by_z = np.column_stack([factorised.effects(column[:, None]) - origin for column in np.eye(size)])
    total = np.linalg.slogdet(by_z)[1]
    h, d = 1e-5, len(t)
    if d:
        moved = [target.coordinates.at(t + s * h * np.eye(d)).x for s in (1, -1)]
        total += np.linalg.slogdet((moved[0] - moved[1]) / (2 * h))[1]
    return total
