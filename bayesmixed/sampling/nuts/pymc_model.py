"""The model in PyMC: the reference definition, named as in the naming contract and on the user's scale.

Geometry (why this samples well when a packed Cholesky factor on the data's scale does not):

- intercept and common effects are sampled in units of the data (`Scaling`) through a linear transform, so
  start values and step sizes suit any unit, while names and priors stay on the user's scale;
- the sampled values are the coefficients of the swept columns on which the priors are stated
  (`bayesmixed.priors.swept`) and the intercept at the centre of the data; ``beta`` and ``Intercept`` follow from them;
- the covariance of group effects is sampled likewise, at the slope columns' means if it is stated far from them;
- group effects are non-centred: ``b = z L'`` with standard normal ``z``;
- standard deviations and correlations are separate parameters. LKJ(eta) correlations are built from
  independent partial correlations (`bayesmixed.priors.lkj`), whose logit is unbounded and of order one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed._compat import import_pymc
from bayesmixed.design.factors import GroupFactor
from bayesmixed.design.spec import Design
from bayesmixed.distributions import (
    Exponential,
    Gamma,
    HalfNormal,
    HalfStudentT,
    InverseGamma,
    LogNormal,
    Normal,
    Prior,
    StudentT,
    Truncated,
)
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import coordinates
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors import lkj
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.scaling import Scaling, far_means

if TYPE_CHECKING:
    import pymc as pm

# our prior -> PyMC's distribution and the names of its parameters
_DISTRIBUTIONS: dict[type[Prior], tuple[str, dict[str, str]]] = {
    Normal: ("Normal", {"mu": "mu", "sigma": "sigma"}),
    StudentT: ("StudentT", {"nu": "nu", "mu": "mu", "sigma": "sigma"}),
    HalfNormal: ("HalfNormal", {"sigma": "sigma"}),
    HalfStudentT: ("HalfStudentT", {"nu": "nu", "sigma": "sigma"}),
    Exponential: ("Exponential", {"rate": "lam"}),
    LogNormal: ("LogNormal", {"mu": "mu", "sigma": "sigma"}),
    Gamma: ("Gamma", {"alpha": "alpha", "beta": "beta"}),
    InverseGamma: ("InverseGamma", {"alpha": "alpha", "beta": "beta"}),
}


def build_model(definition: Model, design: Design, obs: np.ndarray | None = None) -> pm.Model:
    """Write the model in PyMC.

    Parameters
    ----------
    definition : Model
    design : Design
        With a response.
    obs : array of shape (n,), optional
        Labels of the rows; default 0 to n - 1.

    Returns
    -------
    pymc.Model
        Variables as in the naming contract (``Intercept``, ``beta``, ``sd_<factor>``, ``corr_<factor>``,
        the family's parameters, ``b_<factor>``), those sampled in their place (``Intercept_centred``, ``beta_swept``,
        ``sd_<factor>_swept``), the standardised group effects ``z_<factor>``, the response ``y``; data
        in ``X``, ``Z_<factor>``, ``code_<factor>``. ``y`` is observed, with frequency weights as a potential. For
        an ordered response, ``thresholds`` follow from the sampled ``Intercept``, minus the middle one, and ``gaps``.
    """
    pm = import_pymc()
    family, priors = definition.family, definition.priors
    scaling = Scaling.learn(design, family, priors)
    coords = {"obs": np.arange(design.n_rows) if obs is None else obs} | coordinates(design, family)
    with pm.Model(coords=coords) as model:
        eta = _common_part(design, priors, scaling)
        for f, factor in enumerate(design.groups):
            T = priors.group_sweep(factor.name, factor.effect_names)
            swept = design.statistics.effects[f].combined(T)
            mean = far_means(swept, design.statistics.is_binary[f], factor)
            b = _group_effects(factor, priors, T, mean)
            Z = pm.Data(f"Z_{factor.name}", factor.Z, dims=("obs", f"{factor.name}_effect"))
            code = pm.Data(f"code_{factor.name}", factor.codes, dims="obs")
            eta = eta + (Z * b[code]).sum(axis=-1)
        if design.offset is not None:
            eta = eta + pm.Data("offset", design.offset, dims="obs")
        auxiliary = _auxiliary(family, priors, scaling)
        _report(model, family, auxiliary)
        if design.trials is not None:
            auxiliary["trials"] = pm.Data("trials", design.trials, dims="obs")
        _response(design, family, auxiliary, eta)
    return model


def _common_part(design: Design, priors: Priors, scaling: Scaling) -> Any:
    """Intercept and common effects; returns eta without groups, shape (n,)."""
    import pymc as pm

    eta: Any = np.zeros(design.n_rows)
    p, shift = len(design.common_names), 0.0
    T = scaling.T[-p:, -p:] if p else np.eye(0)
    if p:
        by_label = [priors.common[name] for name in design.common_names]
        is_swept = np.any(np.eye(p) != T)
        name, scale = "beta_swept" if is_swept else "beta", scaling.y_scale / scaling.x_scale
        swept: Any = _vector(name, by_label, "common_effect", location=0.0, scale=scale)
        # the intercept is sampled at the centre of the data; the prior is that of this value minus the shift
        shift = (scaling.x_location * swept).sum() if np.any(scaling.x_location) else 0.0
        beta = pm.Deterministic("beta", T @ swept, dims="common_effect") if is_swept else swept
        eta = pm.Data("X", design.X, dims=("obs", "common_effect")) @ beta
    if priors.intercept is None:
        return eta
    centre = scaling.x_location - scaling.T[0, 1:]
    if not np.any(centre):
        return eta + _scalar("Intercept", priors.intercept, scaling, shift)
    centred = _scalar("Intercept_centred", priors.intercept, scaling, shift)
    return eta + pm.Deterministic("Intercept", centred - (centre * swept).sum())


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
    """One variable with a prior per entry; priors of several kinds are sampled separately and joined."""
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


def _group_effects(factor: GroupFactor, priors: Priors, T: np.ndarray, mean: np.ndarray) -> Any:
    """Group effects of one factor, (n_levels, q): non-centred, ``b = z root'`` with ``Sigma = root root'``.

    The prior is that of the swept columns' covariance, Sigma_s; the covariance of the effects as written is
    T Sigma_s T'. It is sampled at the slopes' means, `mean`.
    """
    import pymc as pm
    import pytensor.tensor as pt

    name, dims = factor.name, (factor.name, f"{factor.name}_effect")
    sd_priors = [priors.group_sd[name][effect] for effect in factor.effect_names]
    is_swept = bool(np.any(np.eye(len(T)) != T))
    sampled = "_at_mean" if mean.any() else "_swept" if is_swept else ""
    sd = _vector(f"sd_{name}{sampled}", sd_priors, dims[1])
    z = pm.Normal(f"z_{name}", 0.0, 1.0, dims=dims)
    if not factor.pairs:
        return pm.Deterministic(f"b_{name}", sd * z, dims=dims)
    L = _correlation_factor(factor, priors.lkj_eta[name])
    root, R = sd[:, None] * L, L @ L.T
    if mean.any():
        root = _move_from_mean(factor, root, sd, mean, priors)
    if sampled:
        root = T @ root
        sd = pm.Deterministic(f"sd_{name}", pt.sqrt(pt.square(root).sum(axis=1)), dims=dims[1])
        unit = root / sd[:, None]
        R = unit @ unit.T
    rows, columns = np.transpose(factor.pairs)
    pm.Deterministic(f"corr_{name}", R[rows, columns], dims=f"{name}_pair")
    return pm.Deterministic(f"b_{name}", z @ root.T, dims=dims)


def _move_from_mean(factor: GroupFactor, root: Any, sd: Any, mean: np.ndarray, priors: Priors) -> Any:
    """Move the group covariance from the slopes' means, where it is sampled, to the place where its prior is stated.

    Data far from that place say little about b_0 there but much about b_0 + mean'b, so sampling there follows a ridge
    with correlations of -0.9999. With ``b_at_mean = A b`` (A is the identity with `mean` in the intercept's row)
    Sigma = A^-1 Sigma_at_mean A^-T. As det A = 1 and d Sigma = prod_i(2 sd_i^q) d sd d R, the prior of (sd, R) in
    the sampled coordinates is

        p(sd) LKJ(R) (sd_at_mean / sd)^q,   det R = det R_at_mean (sd_at_mean / sd)^2,

    sd being the intercept's. The sampled variables carry p(sd_at_mean) LKJ(R_at_mean), a potential the rest.
    """
    import pymc as pm
    import pytensor.tensor as pt

    name, at = factor.name, factor.effect_names.index("Intercept")
    q = next(len(block) for block in factor.blocks if at in block)
    inverse = np.eye(len(mean))
    inverse[at] -= mean
    root = inverse @ root
    stated = pt.sqrt(pt.square(root[at]).sum())
    distribution, arguments = _arguments([priors.group_sd[name]["Intercept"]])
    prior = getattr(pm, distribution).dist(**{key: value[0] for key, value in arguments.items()})
    log_ratio = pt.log(sd[at]) - pt.log(stated)
    change = pm.logp(prior, stated) - pm.logp(prior, sd[at])
    pm.Potential(f"move_{name}", change + (q + 2 * (priors.lkj_eta[name] - 1)) * log_ratio)
    return root


def _correlation_factor(factor: GroupFactor, eta: float) -> Any:
    """Cholesky factor of the effects' correlation matrix, LKJ(eta) within each block (`lkj`); shape (q, q)."""
    import pymc as pm
    import pytensor.tensor as pt

    alphas = [lkj.alpha(i, len(b), eta) for b in factor.blocks for i in range(len(b)) for _ in range(i + 1, len(b))]
    unit = pm.Beta(f"partial_{factor.name}", np.array(alphas), np.array(alphas), dims=f"{factor.name}_pair")
    position = {pair: k for k, pair in enumerate(factor.pairs)}

    def partial_of(block: tuple[int, ...], k: int, i: int) -> tuple[Any, Any]:
        return lkj.from_beta(unit[position[block[i], block[k]]])

    q = len(factor.effect_names)
    rows: list[list[Any]] = [[pt.constant(0.0)] * q for _ in range(q)]
    for block in factor.blocks:
        for k, row in enumerate(lkj.cholesky_rows(len(block), partial(partial_of, block), pt.sqrt)):
            for before, entry in zip(block, row, strict=False):
                rows[block[k]][before] = entry
    return pt.stack([pt.stack(row) for row in rows])


def _auxiliary(family: Family, priors: Priors, scaling: Scaling) -> dict[str, Any]:
    """The family's own parameters; ``gaps[a]`` and ``gaps[b]`` are entries of one vector ``gaps``."""
    import pymc as pm

    vectors: dict[str, list[str]] = {}
    for name in family.auxiliary:
        vectors.setdefault(name.partition("[")[0], []).append(name)
    found = {}
    for variable, names in vectors.items():
        if names == [variable]:
            found[variable] = _scalar_auxiliary(variable, family, priors, scaling)
            continue
        dim = f"{variable}_of"
        pm.modelcontext(None).add_coord(dim, [name.removesuffix("]").partition("[")[2] for name in names])
        entries = _vector(variable, [priors.auxiliary[name] for name in names], dim)
        found |= {name: entries[at] for at, name in enumerate(names)}
    return found


def _report(model: pm.Model, family: Family, auxiliary: dict[str, Any]) -> None:
    """Add the variables of the naming contract that are derived from the sampled ones."""
    import pymc as pm

    sampled = auxiliary | ({"Intercept": model["Intercept"]} if "Intercept" in model.named_vars else {})
    first, last = family.variables("Intercept" in sampled)
    for name, value in family.reported(sampled, pm.math.stack).items():
        if name not in sampled:
            pm.Deterministic(name, value, dims=(first | last)[name])


def _scalar_auxiliary(name: str, family: Family, priors: Priors, scaling: Scaling) -> Any:
    """A parameter that is kept above its floor."""
    import pymc as pm

    prior = priors.auxiliary[name]
    # above its floor a truncated prior has the density of the whole one, up to a constant
    distribution, arguments = _arguments([prior.prior if isinstance(prior, Truncated) else prior])
    arguments = {key: value[0] for key, value in arguments.items()}
    if floor := family.floors(scaling.y_scale).get(name):
        arguments["default_transform"] = pm.distributions.transforms.Interval(floor, None)
    return getattr(pm, distribution)(name, **arguments)


def _response(design: Design, family: Family, auxiliary: dict[str, Any], eta: Any) -> None:
    import pymc as pm

    distribution, parameters = family.pymc(pm, eta, auxiliary)
    distribution("y", **parameters, observed=design.y, dims="obs")
    if design.weights is not None:  # a row of weight w counts w times; "y" has counted it once
        log_density = pm.logp(distribution.dist(**parameters), design.y)
        pm.Potential("weights", ((design.weights - 1) * log_density).sum())


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
