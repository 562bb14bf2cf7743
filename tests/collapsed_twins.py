"""Dense versions of the collapsed posterior: one big normal distribution, written as one would on paper."""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import polygamma

from bayesmixed.design import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula import parse
from bayesmixed.priors import resolve_priors
from bayesmixed.sampling.collapsed.density import CollapsedDensity
from bayesmixed.sampling.collapsed.statistics import CrossProducts
from bayesmixed.sampling.collapsed.units import Units

FAMILY = get_family("gaussian")


def make_frame(n=40, seed=0):
    """Levels of every kind: crossed, nested, unbalanced, single rows, a column far from zero."""
    rng = np.random.default_rng(seed)
    pupil = rng.integers(0, 12, n)
    frame = {
        "x": rng.normal(1, 2, n),
        "z": rng.uniform(0, 3, n),
        "k": rng.choice(["a", "b", "c"], n),
        "year": 2000.0 + rng.integers(0, 10, n),
        "pupil": pupil,
        "school": pupil % 4,
        "town": pupil % 2,
        "item": rng.integers(0, 5, n),
        "balanced": np.arange(n) % 4,
        "single": np.arange(n) % (n - 3),
    }
    return pd.DataFrame(frame)


def learn(formula, frame, *, user=None, weights=None, lkj_eta=1.7, seed=3, **options):
    """Design, priors, and the collapsed density."""
    y = np.random.default_rng(seed).normal(5, 2, size=len(frame)) + 1.5 * (frame["pupil"] % 3)
    design = DesignSpec.learn(parse(formula), frame, y=np.asarray(y), weights=weights, **options)[1]
    priors = resolve_priors(design, FAMILY, user, lkj_eta)
    units = Units.learn(design, priors)
    return design, priors, CollapsedDensity.of(design, priors, units, CrossProducts.of(design, units))


def on_user_scale(density, theta, s):
    """Sigma, and sds and correlation matrix of every factor, at one point."""
    sigma = np.exp(s) * density.units.scaling.y_scale
    roots = density.covariances.at(theta[:, None]).roots
    found = [density.units.group_covariance(f, root) for f, root in enumerate(roots)]
    return sigma, [(sd[:, 0] * np.exp(s), R[:, :, 0]) for sd, R in found]


def dense_parts(design, priors, sigma, groups):
    """Mean and covariance of (y, Intercept, beta, b_1, ..., b_F), all normal given sigma and the covariances."""
    n, p = design.X.shape
    names = list(design.common_names)
    scale = [priors.common[name] for name in names]
    mean = np.array([prior.mu for prior in scale], dtype=float)
    V = np.diag([float(prior.sigma) ** 2 for prior in scale])
    columns = design.X
    if design.has_intercept:  # Intercept = stated - centre'beta
        centre = np.array([priors.centre[name] for name in names])
        A = np.block([[np.ones((1, 1)), -centre[None]], [np.zeros((p, 1)), np.eye(p)]])
        V = (
            A
            @ np.block([[np.full((1, 1), float(priors.intercept.sigma) ** 2), np.zeros((1, p))], [np.zeros((p, 1)), V]])
            @ A.T
        )
        mean = A @ np.concatenate([[priors.intercept.mu], mean])
        columns = np.column_stack([np.ones(n), columns])
    blocks, loads = [V], [columns]
    for factor, (sd, R) in zip(design.groups, groups, strict=True):
        J, q = len(factor.levels), len(sd)
        blocks.append(np.kron(np.eye(J), np.outer(sd, sd) * R))
        load = np.zeros((n, J, q))
        load[np.arange(n), factor.codes] = factor.Z
        loads.append(load.reshape(n, -1))
    total = sum(map(len, blocks))
    prior = np.zeros((total, total))
    at = 0
    for block in blocks:
        prior[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    load = np.hstack(loads)
    full_mean = np.zeros(total)
    full_mean[: len(mean)] = mean
    return load, full_mean, prior


def dense_log_likelihood(design, priors, sigma, groups):
    """log p(y | sigma, covariances), all effects integrated out; integer weights repeat rows."""
    load, mean, prior = dense_parts(design, priors, sigma, groups)
    repeat = np.ones(len(load), int) if design.weights is None else design.weights.astype(int)
    load, y = np.repeat(load, repeat, axis=0), np.repeat(design.response, repeat)
    covariance = load @ prior @ load.T + sigma**2 * np.eye(len(y))
    return stats.multivariate_normal(load @ mean, covariance).logpdf(y)


def dense_posterior(design, priors, sigma, groups):
    """Mean and covariance of (Intercept, beta, b_1, ..., b_F) given y, sigma and the covariances."""
    load, mean, prior = dense_parts(design, priors, sigma, groups)
    repeat = np.ones(len(load), int) if design.weights is None else design.weights.astype(int)
    load, y = np.repeat(load, repeat, axis=0), np.repeat(design.response, repeat)
    gain = prior @ load.T @ np.linalg.inv(load @ prior @ load.T + sigma**2 * np.eye(len(y)))
    return mean + gain @ (y - load @ mean), prior - gain @ load @ prior


def log_prior(density, design, priors, theta, s):
    """Log prior of (theta, s), but for LKJ's constant; valid where no covariance is sampled at a mean."""
    sigma, groups = on_user_scale(density, theta, s)
    total = float(priors.auxiliary["sigma"].log_density(sigma)) + s
    for factor, (sd, _) in zip(design.groups, groups, strict=True):
        for effect, value in zip(factor.effect_names, sd, strict=True):
            total += float(priors.group_sd[factor.name][effect].log_density(value)) + np.log(
                value / density.units.effect_units(0)[0]
            )
    at = density.covariances.n_sds
    for factor in density.covariances.factors:
        for block in factor.blocks:
            m = len(block)
            for k in range(m):
                for i in range(k):
                    alpha = factor.eta + (m - 2 - i) / 2
                    scale = np.sqrt(polygamma(1, alpha) / 2)
                    z = np.tanh(scale * theta[at])
                    total += stats.beta.logpdf((1 + z) / 2, alpha, alpha) + np.log1p(-(z**2))
                    at += 1
    return total
