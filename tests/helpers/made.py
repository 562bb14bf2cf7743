"""Draws made by hand, of the right names and shapes."""

import numpy as np

from bayesmixed.design.spec import DesignSpec
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.posterior.posterior import Model, Posterior

GAUSSIAN = get_family("gaussian")


def make_draws(design, *, chains=2, draws=50, seed=0, family=GAUSSIAN):
    """Draws of the right names and shapes, with a valid correlation matrix in every draw."""
    rng = np.random.default_rng(seed)
    sizes = {"common_effect": len(design.common_names)} | {dim: len(own) for dim, own in family.coordinates.items()}
    for factor in design.groups:
        sizes |= {factor.name: len(factor.levels), f"{factor.name}_effect": len(factor.effect_names)}
        sizes[f"{factor.name}_pair"] = len(factor.pairs)
    values = {}
    for name, dims in layout(design, family).items():
        shape = (chains, draws, *(sizes[dim] for dim in dims))
        values[name] = rng.normal(size=shape)
        if name in family.auxiliary or name.startswith("sd_"):
            values[name] = np.abs(values[name]) + 0.1
        if name == "thresholds":
            values[name] = np.sort(values[name], axis=-1) + 0.1 * np.arange(shape[-1])
    for factor in design.groups:
        if factor.pairs:
            values[f"corr_{factor.name}"] = random_correlations(rng, (chains, draws), factor)
    stats = {"diverging": np.zeros((chains, draws), bool), "lp": rng.normal(size=(chains, draws))}
    stats["acceptance_rate"] = np.full((chains, draws), 0.9)
    return Draws(values, stats, {"sampler": "made by hand"})


def random_correlations(rng, shape, factor):
    """One correlation per pair, from random Gram matrices."""
    q = len(factor.effect_names)
    root = rng.normal(size=(*shape, q, q))
    gram = root @ np.swapaxes(root, -1, -2)
    sd = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    R = gram / (sd[..., :, None] * sd[..., None, :])
    return np.stack([R[..., i, j] for i, j in factor.pairs], axis=-1)


def make_posterior(formula, frame, seed=0, **options):
    """A `Posterior` on hand-made draws, and the training design."""
    spec, design = DesignSpec.learn(parse(formula), frame, **options)
    return posterior_of(make_draws(design, seed=seed), spec, seed=7), design


def posterior_of(draws, spec, family=GAUSSIAN, priors=None, seed=0):
    """A `Posterior` of draws; most of what reads one does not ask for its priors."""
    return Posterior(Model(spec, family, priors), draws, seed)


def with_responses(frame, eta, rng):
    """The frame, which has trials `n` and an exposure `time`, with a response of each family, named after it.

    Of K ordered classes ``cumulative<K>``, their positions.
    """
    n, p = len(frame), 1 / (1 + np.exp(-eta))
    frame = frame.assign(
        gaussian=eta + rng.normal(0, 0.4, n),
        t=eta + 0.4 * rng.standard_t(3, n),
        lognormal=np.exp(eta + rng.normal(0, 0.4, n)),
        gamma=rng.gamma(3, np.exp(eta) / 3),
        beta=rng.beta(8 * p, 8 * (1 - p)),
        poisson=rng.poisson(np.exp(eta) * frame["time"]),
        negativebinomial=rng.negative_binomial(2, 2 / (2 + np.exp(eta))),
        binomial=rng.binomial(frame["n"], p),
    )
    latent = eta + rng.logistic(size=n)
    return frame.assign(**{f"cumulative{K}": np.searchsorted(np.linspace(-1, 1.5, K - 1), latent) for K in (2, 3, 5)})
