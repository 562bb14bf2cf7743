"""Dense versions of the collapsed posterior: one big normal distribution, written as one would on paper."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import block_diag
from scipy.special import polygamma

from bayesmixed.design.spec import Design, DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.gaussian.units import Units
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.resolve import resolve_priors
from helpers.twins import common_sweep_of, where_stated

FAMILY = get_family("gaussian")


class Model(NamedTuple):
    """A design with its priors, and its collapsed density."""

    design: Design
    priors: Priors
    density: CollapsedDensity


def make_frame(n=40, seed=0):
    """Levels of every kind: crossed, nested, unbalanced, single rows, a column far from zero."""
    rng = np.random.default_rng(seed)
    pupil = rng.integers(0, 12, n)
    frame = {
        "x": rng.normal(1, 2, n),
        "z": rng.uniform(0, 3, n),
        "k": rng.choice(["a", "b", "c"], n),
        "dose": 30.0 + rng.integers(0, 10, n),
        "year": 2000.0 + rng.integers(0, 10, n),
        "pupil": pupil,
        "school": pupil % 4,
        "town": pupil % 2,
        "item": rng.integers(0, 5, n),
        "task": rng.integers(0, 9, n),
        "balanced": np.arange(n) % 4,
        "single": np.arange(n) % (n - 3),
    }
    return pd.DataFrame(frame | {f"c{i}": rng.normal(size=n) for i in range(14)})


def learn(formula, frame, *, user=None, weights=None, lkj_eta=1.7, seed=3, y=None, **options: Any):
    """Design, priors and collapsed density of a formula; the response is noise and a step from pupil to pupil."""
    if y is None:
        y = np.random.default_rng(seed).normal(5, 2, size=len(frame)) + 1.5 * (frame["pupil"].to_numpy() % 3)
    design = DesignSpec.learn(parse(formula), frame, y=y, weights=weights, **options)[1]
    priors = resolve_priors(design, FAMILY, user, lkj_eta)
    units = Units.learn(design, priors)
    return Model(design, priors, CollapsedDensity.of(design, priors, units, working_products(design, units)))


def random_points(density, n, seed=0, center=-0.7):
    """Coordinates of the covariances, (dimension, n), and log(sigma), (n,)."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(density.dimension, n))
    theta[: density.covariances.n_sds] += center
    return theta, 0.3 * rng.normal(size=n)


def evaluate(density, theta, s):
    """The collapsed log density at points (dimension, n), (n,)."""
    return density.residual.log_density(density.reduce(theta), s)


def on_user_scale(density, theta, s):
    """Sigma, and (sds, correlation matrix) of every factor, at one point."""
    roots = density.covariances.at(theta[:, None]).roots
    found = [density.units.group_covariance(f, root) for f, root in enumerate(roots)]
    return np.exp(s) * density.units.scaling.y_scale, [(sd[:, 0] * np.exp(s), R[:, :, 0]) for sd, R in found]


def effects_prior(design, priors, groups):
    """Columns of (Intercept, beta, b_1, ..., b_F), shape (n, k), and their prior mean and covariance."""
    names = list(design.common_names)
    mean = np.array([priors.common[name].mu for name in names], dtype=float)
    V = np.diag([float(priors.common[name].sigma) ** 2 for name in names])
    loads = [design.X]
    if design.has_intercept:
        V = block_diag(float(priors.intercept.sigma) ** 2, V)
        mean = np.concatenate([[priors.intercept.mu], mean])
        loads = [np.ones((design.n_rows, 1)), design.X]
    T = common_sweep_of(priors)  # the prior is one of the swept columns' coefficients
    mean, blocks = T @ mean, [T @ V @ T.T]
    for factor, (sd, R) in zip(design.groups, groups, strict=True):
        J, q = len(factor.levels), len(sd)
        load = np.zeros((design.n_rows, J, q))
        load[np.arange(design.n_rows), factor.codes] = factor.Z
        loads.append(load.reshape(design.n_rows, J * q))
        blocks.append(np.kron(np.eye(J), np.outer(sd, sd) * R))
    total = sum(load.shape[1] for load in loads)
    return np.hstack(loads), np.concatenate([mean, np.zeros(total - len(mean))]), block_diag(*blocks)


def row_weights(design):
    """Frequency weights of the rows."""
    return np.ones(design.n_rows) if design.weights is None else np.asarray(design.weights, dtype=float)


def dense_log_likelihood(design, priors, sigma, groups):
    """log p(y | sigma, covariances), all effects integrated out.

    A weight multiplies a row's log density, ``w log N(y | eta, sigma^2) = log N(y | eta, sigma^2 / w) + a term``.
    """
    load, mean, prior = effects_prior(design, priors, groups)
    w = row_weights(design)
    normal = stats.multivariate_normal(load @ mean, load @ prior @ load.T + np.diag(sigma**2 / w))
    return normal.logpdf(design.response) - 0.5 * np.sum((w - 1) * np.log(2 * np.pi * sigma**2) + np.log(w))


def dense_posterior(design, priors, sigma, groups):
    """Mean and covariance of (Intercept, beta, b_1, ..., b_F) given y, sigma and the covariances."""
    load, mean, prior = effects_prior(design, priors, groups)
    noise = np.diag(sigma**2 / row_weights(design))
    gain = np.linalg.solve(load @ prior @ load.T + noise, load @ prior).T
    return mean + gain @ (design.response - load @ mean), prior - gain @ load @ prior


def log_prior(model, theta, s):
    """Log prior of (theta, s), but for a constant; where no covariance is sampled at a mean.

    The partial correlations of LKJ's vine are independent Beta variables on (-1, 1), and tanh(scale * v) is one.
    """
    design, priors, density = model
    sigma, _ = on_user_scale(density, theta, s)
    total = float(priors.auxiliary["sigma"].log_density(sigma)) + s
    roots = density.covariances.at(theta[:, None]).roots
    for f, factor in enumerate(design.groups):
        # of swept columns; `where_stated` would lose sds that vanish
        sd = np.exp(s) * density.units.effect_units(f) * np.linalg.norm(roots[f][:, :, 0], axis=1)
        for effect, value in zip(factor.effect_names, sd, strict=True):
            total += float(priors.group_sd[factor.name][effect].log_density(value)) + np.log(value)
    v = iter(theta[density.covariances.n_sds :])
    for factor in density.covariances.factors:
        for block in factor.blocks:
            for k in range(len(block)):
                for i in range(k):
                    alpha = factor.eta + (len(block) - 2 - i) / 2
                    y = np.sqrt(polygamma(1, alpha) / 2) * next(v)
                    # log of (1 - tanh^2)^(alpha - 1) and of d tanh = 1 - tanh^2
                    total += alpha * (np.log(4) - 2 * np.logaddexp(y, -y))
    return total


def log_prior_by_jacobian(model, theta, s):
    """The same for any model, from the definition: p(sd) det(R)^(eta - 1) |d (sd, R) / d theta|, where it is stated."""
    design, priors, density = model

    def parameters(at):
        _, groups = on_user_scale(density, at, s)
        parts = []
        for factor, own in zip(design.groups, groups, strict=True):
            sd, R = where_stated(priors, factor, *own)
            parts += [np.log(sd), np.array([R[pair] for pair in factor.pairs])]
        return np.concatenate(parts)

    sigma, groups = on_user_scale(density, theta, s)
    total = float(priors.auxiliary["sigma"].log_density(sigma)) + s
    for factor, own in zip(design.groups, groups, strict=True):
        sd, R = where_stated(priors, factor, *own)
        for effect, value in zip(factor.effect_names, sd, strict=True):
            total += float(priors.group_sd[factor.name][effect].log_density(value)) + np.log(value)
        if factor.pairs:
            total += (priors.lkj_eta[factor.name] - 1) * np.linalg.slogdet(R)[1]
    steps = 1e-4 * np.eye(len(theta))
    jacobian = [(parameters(theta + step) - parameters(theta - step)) / 2e-4 for step in steps]
    return total + np.linalg.slogdet(np.array(jacobian))[1]
