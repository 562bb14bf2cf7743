"""Independent draws from the prior of a model, exact and in NumPy.

Each number is the prior's quantile at a uniform number whose key names what is drawn: (seed, variable, effect or
level). The draws of one effect are thus the same whatever other effects and levels the model has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import betaincinv

from bayesmixed.chunks import allowed
from bayesmixed.design.factors import GroupSpec
from bayesmixed.design.labels import label_key
from bayesmixed.design.spec import DesignSpec
from bayesmixed.distributions import Prior
from bayesmixed.keyed_random import normals, uniforms
from bayesmixed.posterior.draws import Draws, covariance_factor, layout
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors import lkj
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.swept import swept_effects


def prior_draws(model: Model, n_draws: int, seed: int) -> Draws:
    """Draw every variable of the naming contract from its prior, including ``b_<factor>`` of all fitted levels.

    Parameters
    ----------
    model : Model
    n_draws : int
        Asking for more draws does not change the first ones.
    seed : int

    Returns
    -------
    Draws
        One chain, on the user's scale: ``Intercept`` (1, n_draws), ``beta`` (1, n_draws, p),
        ``b_<factor>`` (1, n_draws, n_levels, q), ... without sample statistics. Effects that are too many to store
        are lazy.

    Examples
    --------
    >>> from bayesmixed.datasets import load_sleepstudy
    >>> from bayesmixed.families import get_family
    >>> from bayesmixed.formula.parse import parse
    >>> from bayesmixed.priors.defaults import default_priors
    >>> data = load_sleepstudy()
    >>> spec, design = DesignSpec.learn(parse("Days + (Days | Subject)"), data, y=data["Reaction"].to_numpy())
    >>> family = get_family("gaussian")
    >>> draws = prior_draws(Model(spec, family, default_priors(design, family)), n_draws=100, seed=0)
    >>> draws.values["b_Subject"].shape
    (1, 100, 18, 2)
    """
    spec, priors, family = model.spec, model.priors, model.family
    values = _common_part(spec, priors, n_draws, seed)
    for factor in spec.groups:
        values |= _covariance(factor, priors, n_draws, seed)
    for name in family.auxiliary:
        values[name] = priors.auxiliary[name].quantile(uniforms((seed, "prior", name), (n_draws,)))
    values = family.reported(values)
    draws = Draws({name: value[None] for name, value in values.items()}, {}, {"sampler": "prior"})
    sources = {factor.name: PriorEffects(covariance_factor(draws, factor), factor, seed) for factor in spec.groups}
    lazy = {name: source for name, source in sources.items() if source.mean.size * n_draws > allowed().stored}
    stored = {
        f"b_{name}": source.draw(np.arange(len(source.factor.levels)))[None]
        for name, source in sources.items()
        if name not in lazy
    }
    known = draws.values | stored
    return replace(draws, values={name: known[name] for name in layout(spec, family) if name in known}, lazy=lazy)


def _common_part(spec: DesignSpec, priors: Priors, n_draws: int, seed: int) -> dict[str, np.ndarray]:
    """Common effects, and the intercept at X = 0, from those of the swept columns, on which the priors are stated."""
    stated = [np.empty((n_draws, 0))]
    if priors.intercept is not None:
        stated.append(priors.intercept.quantile(uniforms((seed, "prior", "Intercept"), (n_draws,)))[:, None])
    if spec.common_names:
        stated.append(_by_name("beta", {name: priors.common[name] for name in spec.common_names}, n_draws, seed))
    written = swept_effects(priors.common_sweep(spec.common_names), np.concatenate(stated, axis=1).T).T
    values = {"beta": written[:, -len(spec.common_names) :]} if spec.common_names else {}
    return values | ({} if priors.intercept is None else {"Intercept": written[:, 0]})


def _covariance(factor: GroupSpec, priors: Priors, n_draws: int, seed: int) -> dict[str, np.ndarray]:
    """A factor's standard deviations and correlations, as written, from those of the swept columns."""
    name = factor.name
    sds = {effect: priors.group_sd[name][effect] for effect in factor.effect_names}
    sd = _by_name(f"sd_{name}", sds, n_draws, seed)
    if not factor.pairs:
        return {f"sd_{name}": sd}
    L = _correlation_root(factor, priors.lkj_eta[name], n_draws, seed)
    root = swept_effects(priors.group_sweep(name, factor.effect_names), np.moveaxis(sd[:, :, None] * L, 0, -1))
    sd = np.sqrt(np.square(root).sum(axis=1))
    rows, columns = np.transpose(factor.pairs)
    unit = root / sd[:, None]
    return {f"sd_{name}": sd.T, f"corr_{name}": (unit[rows] * unit[columns]).sum(axis=1).T}


def _by_name(variable: str, priors: Mapping[str, Prior], n_draws: int, seed: int) -> np.ndarray:
    """Draws of a vector with a prior per named entry, (n_draws, k)."""
    columns = [prior.quantile(uniforms((seed, "prior", variable, name), (n_draws,))) for name, prior in priors.items()]
    return np.stack(columns, axis=1)


def _correlation_root(factor: GroupSpec, eta: float, n_draws: int, seed: int) -> np.ndarray:
    """Cholesky factor of the correlations, LKJ(eta) within each block (`lkj`); (n_draws, q, q)."""
    names = factor.effect_names
    L = np.zeros((n_draws, len(names), len(names)))  # R = L L'

    def partial_of(block: tuple[int, ...], k: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        key = (seed, "prior", f"corr_{factor.name}", names[block[i]], names[block[k]])
        shape = lkj.alpha(i, len(block), eta)
        return lkj.from_beta(betaincinv(shape, shape, uniforms(key, (n_draws,))))

    for block in factor.blocks:
        for k, row in enumerate(lkj.cholesky_rows(len(block), partial(partial_of, block))):
            for before, entry in zip(block, row, strict=False):
                L[:, block[k], before] = entry
    return L


@dataclass(frozen=True)
class PriorEffects:
    """Effects of fitted levels under the prior, N(0, Sigma) given the draw's Sigma = root root'.

    Attributes
    ----------
    root : numpy.ndarray of shape (S, q, q)
    factor : GroupSpec
    seed : int
    """

    root: np.ndarray
    factor: GroupSpec
    seed: int

    @property
    def mean(self) -> np.ndarray:
        return self.means(np.arange(len(self.factor.levels)))

    def means(self, levels: np.ndarray) -> np.ndarray:
        return np.zeros((len(levels), self.root.shape[1]))

    def draw(self, levels: np.ndarray) -> np.ndarray:
        S, q, _ = self.root.shape
        b = np.empty((S, len(levels), q))
        for at, label in enumerate(self.factor.levels[levels]):
            key = (self.seed, "prior", f"b_{self.factor.name}", label_key(label))
            b[:, at] = np.einsum("sij,sj->si", self.root, normals(key, (S, q)))
        return b

    def draw_each(self, levels: np.ndarray) -> np.ndarray:
        b = np.empty((len(levels), self.root.shape[1]))
        for level in np.unique(levels):
            mine = levels == level
            b[mine] = self.draw(np.array([level]))[mine, 0]
        return b
