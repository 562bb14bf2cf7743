"""Dense versions of the Gibbs sampler's steps: conditionals of one big normal distribution, by factor."""

import numpy as np
import pandas as pd
from scipy import stats

from bayesmixed.sampling.gibbs.chains import Chains
from bayesmixed.sampling.gibbs.model import Arrangement
from helpers.collapsed_twins import effects_prior, learn, log_prior, on_user_scale, row_weights


def crossed_frame(n=60, seed=0):
    """Three factors that cross, two of them with slopes to have, and two that nearly nest."""
    rng = np.random.default_rng(seed)
    pupil = rng.integers(0, 9, n)
    return pd.DataFrame(
        {
            "x": rng.normal(1, 2, n),
            "z": rng.uniform(0, 3, n),
            "pupil": pupil,
            "item": rng.integers(0, 7, n),
            "task": rng.integers(0, 6, n),
            "firm": np.where(rng.uniform(size=n) < 0.9, pupil // 3, rng.integers(0, 3, n)),
            "small": rng.integers(0, 3, n),
        }
    )


def arranged(formula, *, shared, monkeypatch, frame=None, centres=True, weights=None, **options):
    """A model of `learn`, arranged with at most `shared` effects in small factors, about centres that are noise."""
    monkeypatch.setattr("bayesmixed.sampling.gibbs.limits.SHARED", shared)
    model = learn(formula, crossed_frame() if frame is None else frame, weights=weights, **options)
    arrangement = Arrangement.of(model.density)
    if centres:
        rng = np.random.default_rng(5)
        arrangement = arrangement.about([rng.normal(size=(f.q, f.J)) for f in arrangement.factors])
    return model, arrangement


def random_chains(arrangement, C=3, seed=1):
    """Chains at random points, with random effects."""
    rng = np.random.default_rng(seed)
    density = arrangement.density
    chains = Chains(arrangement, rng.normal(size=(density.dimension, C)) - 0.3, 0.3 * rng.normal(size=C))
    for i, deviations in enumerate(chains.deviations):
        chains.place(i, rng.normal(size=deviations.shape))
    return chains


def relative(density, theta, s):
    """Coordinates on the absolute scale as those of `Covariances`, whose sds are relative to sigma."""
    shift = np.zeros(len(theta))
    shift[: density.covariances.n_sds] = s
    return theta - shift


def user_effects(density, f, b):
    """Effects (q, J) of one factor on the user's scale, level after level, (J * q,)."""
    return density.units.group_effects(f, b).T.ravel()


class Dense:
    """The joint normal distribution of everything, at one theta and s (absolute), parted by factor."""

    def __init__(self, model, theta, s):
        density = model.density
        self.model, self.theta, self.s = model, theta, s
        self.sigma, self.groups = on_user_scale(density, relative(density, theta, s), s)
        self.load, self.mean, self.prior = effects_prior(model.design, model.priors, self.groups)
        self.noise = np.diag(self.sigma**2 / row_weights(model.design))
        sizes = [len(f.levels) * len(f.effect_names) for f in model.design.groups]
        ends = np.cumsum([self.load.shape[1] - sum(sizes), *sizes])
        self.columns = [np.arange(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]  # common, then by factor

    def given(self, known):
        """Columns that are not known, and y less what is: `known` has effects (J * q,) by factor."""
        taken = sum(self.load[:, self.columns[1 + f]] @ b for f, b in known.items())
        free = np.concatenate([c for at, c in enumerate(self.columns) if at - 1 not in known])
        return free, self.model.design.response - taken

    def log_density(self, known):
        """log p(y, theta, s | known effects), but for a constant that theta_f of unknown effects does not enter."""
        free, y = self.given(known)
        load, prior = self.load[:, free], self.prior[np.ix_(free, free)]
        w = row_weights(self.model.design)
        value = stats.multivariate_normal(load @ self.mean[free], load @ prior @ load.T + self.noise).logpdf(y)
        value -= 0.5 * np.sum((w - 1) * np.log(self.sigma**2))
        return value + log_prior(self.model, relative(self.model.density, self.theta, self.s), self.s)

    def posterior(self, known):
        """Mean and covariance of the unknown effects given y and the known ones; their columns."""
        free, y = self.given(known)
        load, prior = self.load[:, free], self.prior[np.ix_(free, free)]
        gain = np.linalg.solve(load @ prior @ load.T + self.noise, load @ prior).T
        return self.mean[free] + gain @ (y - load @ self.mean[free]), prior - gain @ load @ prior, free
