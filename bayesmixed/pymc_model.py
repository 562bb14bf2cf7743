"""The model in PyMC: the reference definition, in the words of the naming contract and on the user's scale.

Geometry (why this samples well where a packed Cholesky factor on the data's scale does not):

- intercept and common effects are sampled in units of the data (`Scaling`) through a linear transform, so
  start values and step sizes suit any unit, while names and priors stay on the user's scale;
- the intercept is sampled at the centre of the data;
- group effects are non-centred: ``b = z L'`` with standard normal ``z``;
- standard deviations and correlations are separate parameters. LKJ(eta) correlations are built from
  independent partial correlations (C-vine), whose logit is unbounded and of order one.

References
----------
Lewandowski, Kurowicka & Joe (2009), Generating random correlation matrices based on vines and extended onion
method, Journal of Multivariate Analysis 100, 1989-2001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed._compat import import_pymc
from bayesmixed.design import Design, GroupFactor
from bayesmixed.distributions import Exponential, HalfNormal, HalfStudentT, Normal, Prior, StudentT
from bayesmixed.draws import coordinates
from bayesmixed.families import Family
from bayesmixed.priors import Priors
from bayesmixed.scaling import Scaling

if TYPE_CHECKING:
    import pymc as pm

# our prior -> PyMC's distribution; the parameters have the same names but for Exponential's
_DISTRIBUTIONS: dict[type[Prior], tuple[str, dict[str, str]]] = {
    Normal: ("Normal", {"mu": "mu", "sigma": "sigma"}),
    StudentT: ("StudentT", {"nu": "nu", "mu": "mu", "sigma": "sigma"}),
    HalfNormal: ("HalfNormal", {"sigma": "sigma"}),
    HalfStudentT: ("HalfStudentT", {"nu": "nu", "sigma": "sigma"}),
    Exponential: ("Exponential", {"rate": "lam"}),
}


def build_model(design: Design, family: Family, priors: Priors, obs: np.ndarray | None = None) -> pm.Model:
    """Write the model in PyMC.

    Parameters
    ----------
    design : Design
        With a response.
    family : Family
    priors : Priors
    obs : array of shape (n,), optional
        Labels of the rows; default 0 to n - 1.

    Returns
    -------
    pymc.Model
        Variables as in the naming contract (``Intercept``, ``beta``, ``sd_<factor>``, ``corr_<factor>``,
        ``sigma``, ``b_<factor>``), the standardised group effects ``z_<factor>``, the response ``y``; data
        in ``X``, ``Z_<factor>``, ``code_<factor>``. ``y`` is observed with frequency weights as a potential.
    """
    pm = import_pymc()
    scaling = Scaling.learn(design, priors)
    coords = {"obs": np.arange(design.n_rows) if obs is None else obs} | coordinates(design)
    with pm.Model(coords=coords) as model:
        eta = _common_part(design, priors, scaling)
        for factor in design.groups:
            b = _group_effects(factor, priors)
            Z = pm.Data(f"Z_{factor.name}", factor.Z, dims=("obs", f"{factor.name}_effect"))
            code = pm.Data(f"code_{factor.name}", factor.codes, dims="obs")
            eta = eta + (Z * b[code]).sum(axis=-1)
        if design.offset is not None:
            eta = eta + pm.Data("offset", design.offset, dims="obs")
        _RESPONSES[family.name](design, priors, scaling, eta)
    return model


def _common_part(design: Design, priors: Priors, scaling: Scaling) -> Any:
    """Intercept and common effects; returns eta without groups, shape (n,)."""
    import pymc as pm

    eta: Any = np.zeros(design.n_rows)
    at_location: Any = 0.0  # x_location'beta, what the common effects add at the centre of the data
    shift: Any = 0.0
    if design.common_names:
        by_label = [priors.common[name] for name in design.common_names]
        beta = _vector("beta", by_label, "common_effect", location=0.0, scale=scaling.y_scale / scaling.x_scale)
        eta = pm.Data("X", design.X, dims=("obs", "common_effect")) @ beta
        at_location = (scaling.x_location * beta).sum()
        # Intercept + centre'beta has the prior, Intercept + x_location'beta is sampled
        centre = np.array([priors.centre[name] for name in design.common_names])
        shift = ((scaling.x_location - centre) * beta).sum() if np.any(scaling.x_location != centre) else 0.0
    if priors.intercept is None:
        return eta
    if not np.any(scaling.x_location):
        return eta + _scalar("Intercept", priors.intercept, scaling, shift)
    centred = _scalar("Intercept_centred", priors.intercept, scaling, shift)
    return eta + pm.Deterministic("Intercept", centred - at_location)


def _scalar(name: str, prior: Prior, scaling: Scaling, shift: Any) -> Any:
    import pymc as pm

    distribution, arguments = _arguments([prior])
    arguments = {key: value[0] for key, value in arguments.items()}
    if prior.positive:
        return getattr(pm, distribution)(name, **arguments)
    arguments["mu"] = arguments["mu"] + shift
    transform = _affine(scaling.y_location, scaling.y_scale)
    return getattr(pm, distribution)(name, **arguments, default_transform=transform)


def _vector(name: str, priors: list[Prior], dim: str, location: float = 0.0, scale: Any = None) -> Any:
    """One variable with a prior per entry; priors of several kinds are sampled apart and put together."""
    import pymc as pm
    import pytensor.tensor as pt

    kinds: list[type[Prior]] = list(dict.fromkeys(map(type, priors)))
    parts, order = [], []
    for kind in kinds:
        at = [i for i, prior in enumerate(priors) if type(prior) is kind]
        distribution, arguments = _arguments([priors[i] for i in at])
        if not kind.positive:
            arguments["default_transform"] = _affine(location, np.broadcast_to(scale, len(priors))[at])
        whole = len(kinds) == 1
        place = {"dims": dim} if whole else {"shape": len(at)}
        parts.append(getattr(pm, distribution)(name if whole else f"{name}_{kind.__name__}", **arguments, **place))
        order += at
    if len(kinds) == 1:
        return parts[0]
    return pm.Deterministic(name, pt.concatenate(parts)[np.argsort(order)], dims=dim)


def _arguments(priors: list[Prior]) -> tuple[str, dict[str, Any]]:
    """PyMC's distribution and its parameters for priors of one kind, each of shape (len(priors),)."""
    distribution, names = _DISTRIBUTIONS[type(priors[0])]
    return distribution, {theirs: np.array([float(getattr(p, ours)) for p in priors]) for ours, theirs in names.items()}


def _group_effects(factor: GroupFactor, priors: Priors) -> Any:
    """Group effects of one factor, (n_levels, q)."""
    import pymc as pm
    import pytensor.tensor as pt

    name = factor.name
    sds = priors.group_sd[name]
    sd = _vector(f"sd_{name}", [sds[effect] for effect in factor.effect_names], f"{name}_effect")
    z = pm.Normal(f"z_{name}", 0.0, 1.0, dims=(name, f"{name}_effect"))
    factors = _correlation_factors(factor, priors.lkj_eta[name]) if factor.pairs else {}
    blocks = []
    for block in factor.blocks:
        columns = z[:, block[0] : block[-1] + 1]  # a block is a run of neighbours
        blocks.append(columns @ factors[block].T if block in factors else columns)
    return pm.Deterministic(f"b_{name}", sd * pt.concatenate(blocks, axis=1), dims=(name, f"{name}_effect"))


def _correlation_factors(factor: GroupFactor, eta: float) -> dict[tuple[int, ...], Any]:
    """Cholesky factor of each block's LKJ(eta) correlation matrix, from partial correlations.

    In the C-vine, the partial correlation of effects i < k of a block of q, given the effects before i, is
    2 Beta(alpha_i, alpha_i) - 1 with alpha_i = eta + (q - 2 - i) / 2, all independent (Lewandowski et al.,
    2009, section 2.4, with i counted from 0).
    """
    import pymc as pm
    import pytensor.tensor as pt

    alphas = [eta + (len(b) - 2 - i) / 2 for b in factor.blocks for i in range(len(b)) for _ in range(i + 1, len(b))]
    dim = f"{factor.name}_pair"
    unit = pm.Beta(f"partial_{factor.name}", np.array(alphas), np.array(alphas), dims=dim)
    position = {pair: k for k, pair in enumerate(factor.pairs)}
    factors: dict[tuple[int, ...], Any] = {}
    correlations: dict[tuple[int, int], Any] = {}
    for block in factor.blocks:
        q = len(block)
        if q == 1:
            continue
        rows: list[list[Any]] = [[pt.constant(0.0)] * q for _ in range(q)]
        for k in range(q):
            left = pt.constant(1.0)  # 1 - sum of squares of the row so far
            for i in range(k):
                u = unit[position[block[i], block[k]]]
                rows[k][i] = (2 * u - 1) * pt.sqrt(left)
                left = left * 4 * u * (1 - u)  # 1 - (2u - 1)^2
            rows[k][k] = pt.sqrt(left)
        L = pt.stack([pt.stack(row) for row in rows])
        R = L @ L.T
        factors[block] = L
        correlations |= {(block[i], block[k]): R[i, k] for i in range(q) for k in range(i + 1, q)}
    pm.Deterministic(f"corr_{factor.name}", pt.stack([correlations[pair] for pair in factor.pairs]), dims=dim)
    return factors


def _gaussian(design: Design, priors: Priors, scaling: Scaling, mu: Any) -> None:
    import pymc as pm

    distribution, arguments = _arguments([priors.auxiliary["sigma"]])
    arguments = {key: value[0] for key, value in arguments.items()}
    above_floor = pm.distributions.transforms.Interval(scaling.sigma_floor, None)
    sigma = getattr(pm, distribution)("sigma", **arguments, default_transform=above_floor)
    pm.Normal("y", mu, sigma, observed=design.y, dims="obs")
    if design.weights is not None:  # a row of weight w counts w times; "y" has counted it once
        log_density = pm.logp(pm.Normal.dist(mu, sigma), design.y)
        pm.Potential("weights", ((design.weights - 1) * log_density).sum())


_RESPONSES = {"gaussian": _gaussian}


def _affine(location: Any, scale: Any) -> Any:
    """A transform that samples ``(value - location) / scale``."""
    import pytensor.tensor as pt
    from pymc.logprob.transforms import Transform

    class Affine(Transform):
        name = "standardised"

        def forward(self, value: Any, *inputs: Any) -> Any:
            return (value - location) / scale

        def backward(self, value: Any, *inputs: Any) -> Any:
            return location + scale * value

        def log_jac_det(self, value: Any, *inputs: Any) -> Any:
            return pt.zeros_like(value) + np.log(scale)

    return Affine()
