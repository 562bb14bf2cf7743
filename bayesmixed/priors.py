"""The prior of every parameter of a model: defaults scaled by the data, overridden by the user."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bayesmixed.design import Design
from bayesmixed.distributions import HalfNormal, HalfStudentT, Normal, Prior
from bayesmixed.errors import PriorError, quoted
from bayesmixed.families import Family
from bayesmixed.grouping import GroupFactor, by_factor

FAR = 3  # standard deviations between zero and the mean of a slope column before we warn


@dataclass(frozen=True)
class Priors:
    """The prior of every parameter of one model, on the user's scale.

    Attributes
    ----------
    intercept : Prior or None
        Of ``Intercept + sum(centre * beta)``; None in a model without intercept.
    common : dict of str to Prior
        By column label.
    group_sd : dict of str to dict of str to Prior
        By factor and effect.
    lkj_eta : dict of str to float
        By factor with correlated effects: shape of the LKJ distribution (1: uniform over correlations).
    auxiliary : dict of str to Prior
        E.g. ``{"sigma": HalfStudentT(4, 56)}``.
    centre : dict of str to float
        By column label: where the intercept's prior is stated. All 0: on the Intercept itself, at X = 0.

    Examples
    --------
    >>> from bayesmixed import Normal, HalfNormal
    >>> Priors(Normal(0, 1), {"x": Normal(0, 1)}, {}, {}, {"sigma": HalfNormal(1)}, {"x": 0.0}).common["x"]
    Normal(mu=0, sigma=1)
    """

    intercept: Prior | None
    common: dict[str, Prior]
    group_sd: dict[str, dict[str, Prior]]
    lkj_eta: dict[str, float]
    auxiliary: dict[str, Prior]
    centre: dict[str, float]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Every parameter with its prior, as text of four digits; `print` shows them as a table."""
        rows = [] if self.intercept is None else [(f"Intercept{self._at()}", _short(self.intercept))]
        rows += [(f"beta[{label}]", _short(prior)) for label, prior in self.common.items()]
        for factor, sds in self.group_sd.items():
            rows += [(f"sd_{factor}[{effect}]", _short(prior)) for effect, prior in sds.items()]
            if factor in self.lkj_eta:
                rows.append((f"corr_{factor}", f"LKJ({self.lkj_eta[factor]:.4g})"))
        return rows + [(name, _short(prior)) for name, prior in self.auxiliary.items()]

    def _at(self) -> str:
        """Where the intercept's prior is stated."""
        places = [f"{label} = {value:.4g}" for label, value in self.centre.items() if value]
        if len(places) > 2:
            places = [places[0], f"... ({len(places) - 1} more)"]
        return f" at {', '.join(places)}" if places else ""

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.rows), default=0)
        return "\n".join(f"{name:<{width}}  {prior}" for name, prior in self.rows)


def _short(prior: Prior) -> str:
    return f"{type(prior).__name__}({', '.join(f'{getattr(prior, part.name):.4g}' for part in fields(prior))})"


def moments(values: np.ndarray, weights: np.ndarray | None, centred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of columns, weighted, with ddof 0.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,) or (n, k)
    weights : numpy.ndarray of shape (n,), or None
    centred : bool
        True: mean and standard deviation. False: zero and root mean square.

    Returns
    -------
    location, scale : numpy.ndarray of shape () or (k,)
        The scale of a constant column is its root mean square, of a zero column 1.
    """
    share = np.full(len(values), 1 / len(values)) if weights is None else weights / weights.sum()
    location = share @ values
    square = share @ np.square(values)
    spread = np.sqrt(share @ np.square(values - location))
    rms = np.where(square > 0, np.sqrt(square), 1.0)
    scale = np.where(spread > 1e-14 * rms, spread, rms) if centred else rms
    return (location if centred else np.zeros_like(location)), scale


def default_priors(design: Design, family: Family, lkj_eta: float | Mapping[str, float] = 2.0) -> Priors:
    """Weakly informative priors scaled by the data.

    They follow rstanarm's scaling for the intercept and the common effects [1]_; the group intercept's scale
    is our own: it allows for the variance that an uncentred slope column moves into the intercept.

    Parameters
    ----------
    design : Design
        With a response.
    family : Family
    lkj_eta : float or dict by factor, default=2.0

    Returns
    -------
    Priors

    References
    ----------
    .. [1] Goodrich, Gabry, Ali & Brilleman, Prior distributions for rstanarm models (package vignette).
    """
    location, scale = moments(design.response, design.weights, design.has_intercept)
    x_mean, x_scale = moments(design.X, design.weights, design.has_intercept)
    x_mean = np.where(np.abs(x_mean) > 1e-14 * x_scale, x_mean, 0.0)  # of a centred column, rounding is left
    group_sd = {}
    for factor in design.groups:  # a comprehension would be one more frame on some Pythons
        group_sd[factor.name] = _default_sds(factor, float(scale), design.weights)
    return Priors(
        intercept=Normal(float(location), 2.5 * float(scale)) if design.has_intercept else None,
        common={
            name: Normal(0.0, float(2.5 * scale / s)) for name, s in zip(design.common_names, x_scale, strict=True)
        },
        group_sd=group_sd,
        lkj_eta=_resolve_eta(lkj_eta, design),
        auxiliary={name: HalfStudentT(4.0, float(scale)) for name in family.auxiliary},
        centre=dict(zip(design.common_names, map(float, x_mean), strict=True)),
    )


def _default_sds(factor: GroupFactor, y_scale: float, weights: np.ndarray | None) -> dict[str, Prior]:
    has_intercept = "Intercept" in factor.effect_names
    mean, scale = moments(factor.Z, weights, has_intercept)
    if np.any(far := far_slopes(factor, weights)):
        warnings.warn(
            f"grouping factor {factor.name!r}: {quoted(np.array(factor.effect_names)[far])} has its mean more than "
            f"{FAR} standard deviations from zero, so the group intercepts describe a point far outside the data. "
            "Centring helps reader and sampler: write center(x) for x, or subtract a value that means something.",
            UserWarning,
            stacklevel=6,
        )
    # Var(b_0 + z b_1) at the mean of z is what the data show; b_0 itself has to hold what b_1 adds at z = 0
    slopes = np.array([name != "Intercept" for name in factor.effect_names])
    inflation = np.sqrt(1 + np.sum(np.square(mean[slopes] / scale[slopes]))) if has_intercept else 1.0
    return {
        name: HalfNormal(2.5 * y_scale * (float(inflation) if name == "Intercept" else 1 / float(s)))
        for name, s in zip(factor.effect_names, scale, strict=True)
    }


def far_slopes(factor: GroupFactor, weights: np.ndarray | None, far: float = FAR) -> np.ndarray:
    """Which slope columns, beside a group intercept, have their mean more than `far` sds from zero; bool (q,).

    A column of zeros and ones is never far: zero is one of its values.
    """
    if "Intercept" not in factor.effect_names:
        return np.zeros(len(factor.effect_names), dtype=bool)
    mean, scale = moments(factor.Z, weights, centred=True)
    is_dummy = np.all((factor.Z == 0) | (factor.Z == 1), axis=0)
    return (np.abs(mean) > far * scale) & ~is_dummy


def _resolve_eta(lkj_eta: float | Mapping[str, float], design: Design) -> dict[str, float]:
    factors = [factor.name for factor in design.groups]
    etas = dict.fromkeys(factors, 2.0) | by_factor(lkj_eta, factors, "lkj_eta", PriorError)
    for eta in etas.values():
        if not isinstance(eta, (int, float, np.number)) or isinstance(eta, bool) or not 0 < eta < np.inf:
            raise PriorError(f"lkj_eta must be a positive number or a dict of these by factor, got {lkj_eta!r}.")
    return {factor.name: float(etas[factor.name]) for factor in design.groups if factor.pairs}


def resolve_priors(
    design: Design,
    family: Family,
    user: Mapping[str, Any] | Priors | None = None,
    lkj_eta: float | Mapping[str, float] = 2.0,
) -> Priors:
    """Merge the user's priors into the defaults.

    Parameters
    ----------
    design : Design
        With a response.
    family : Family
    user : dict, Priors or None
        Keys: ``"Intercept"``, ``"beta"`` (one prior, or a dict by label), ``"sd_<factor>"`` (one prior, or a
        dict by effect), auxiliary parameters, a bare label or term of the common part, or a name as `print` shows it,
        ``"beta[x]"``, ``"sd_<factor>[x]"``. A `Priors` is used
        as it is, its own ``lkj_eta`` included.
    lkj_eta : float or dict by factor, default=2.0
        Not read when `user` is a `Priors`.

    Raises
    ------
    PriorError
        An unknown or ambiguous name, a prior of the wrong support, a value that is not a prior.
    """
    if isinstance(user, Priors):
        _check_fits(user, design, family)
        return user
    priors = default_priors(design, family, lkj_eta)
    if user is None:
        return priors
    if not isinstance(user, Mapping):
        raise PriorError(f"priors must be a dict, the priors_ of a fit, or None, got {type(user).__name__}.")
    common: dict[str, Prior] = {}
    group_sd = {factor: dict(sds) for factor, sds in priors.group_sd.items()}
    auxiliary = dict(priors.auxiliary)
    for name, given in user.items():
        if not isinstance(name, str):
            raise PriorError(
                f"the keys of priors are names, got {name!r}; valid names: {quoted(_names(design, family))}."
            )
        key, value = _split(name, given, design)
        if _labels_of(key, design) and key in _names(design, family):
            raise PriorError(
                f"prior {key!r} is ambiguous; for the common effect write priors={{'beta': {{{key!r}: ...}}}}."
            )
        if key == "Intercept" and design.has_intercept:
            # stated by the user, so on the intercept itself, at X = 0
            priors = replace(priors, intercept=_prior(key, value), centre=dict.fromkeys(priors.centre, 0.0))
        elif key == "beta" and design.common_names:
            by_label = value if isinstance(value, Mapping) else dict.fromkeys(design.common_names, value)
            for label, prior in by_label.items():
                _set_common(common, label, prior, design, family)
        elif key.startswith("sd_") and key[3:] in group_sd:
            _set_sds(group_sd[key[3:]], key, value)
        elif key in auxiliary:
            auxiliary[key] = _prior(key, value, positive=True)
        else:
            _set_common(common, key, value, design, family)
    return replace(priors, common=priors.common | common, group_sd=group_sd, auxiliary=auxiliary)


def _split(key: str, value: Any, design: Design) -> tuple[str, Any]:
    """``sd_g[x]``, as a table has it, is a dict by effect with one entry, and ``beta[x]`` one by label."""
    variable, bracket, label = key.removesuffix("]").partition("[")
    known = variable in ("beta", *(f"sd_{factor.name}" for factor in design.groups))
    is_entry = bracket and key.endswith("]") and known and not _labels_of(key, design)
    return (variable, {label: value}) if is_entry else (key, value)


def _names(design: Design, family: Family) -> list[str]:
    """List the keys that `resolve_priors` takes beside labels and terms."""
    names = [*(["Intercept"] if design.has_intercept else []), *(["beta"] if design.common_names else [])]
    return [*names, *(f"sd_{factor.name}" for factor in design.groups), *family.auxiliary]


def _labels_of(name: str, design: Design) -> list[str]:
    """Column labels that a label or a term stands for."""
    if name in design.common_names:
        return [name]
    return [label for label, term in zip(design.common_names, design.common_terms, strict=True) if term == name]


def _set_common(common: dict[str, Prior], name: str, value: Any, design: Design, family: Family) -> None:
    labels = _labels_of(name, design)
    if not labels:
        terms = dict.fromkeys([*design.common_names, *design.common_terms])
        raise PriorError(f"unknown prior {name!r}; valid names: {quoted([*_names(design, family), *terms], most=50)}.")
    for label in labels:
        if label in common:
            raise PriorError(f"the common effect {label!r} is given two priors; keep one of the entries that name it.")
        common[label] = _prior(label, value)


def _set_sds(sds: dict[str, Prior], key: str, value: Any) -> None:
    by_effect = value if isinstance(value, Mapping) else dict.fromkeys(sds, value)
    for effect, prior in by_effect.items():
        if effect not in sds:
            raise PriorError(f"prior {key!r} names the effect {effect!r}; its effects are {quoted(sds)}.")
        sds[effect] = _prior(f"{key}[{effect}]", prior, positive=True)


def _prior(name: str, value: Any, positive: bool = False) -> Prior:
    if not isinstance(value, Prior) or type(value) is Prior:
        raise PriorError(
            f"prior of {name!r} must be a prior such as {'HalfNormal' if positive else 'Normal'}, got {value!r}."
        )
    if positive and not value.positive:
        raise PriorError(
            f"prior of {name!r} must have positive support (HalfNormal, HalfStudentT, Exponential), got {value!r}."
        )
    return value


def _check_fits(priors: Priors, design: Design, family: Family) -> None:
    """Refuse the `Priors` of another model, or with values that are not priors."""
    names = set(design.common_names)
    parts: dict[str, tuple[set, set]] = {
        "intercept": ({"Intercept"} if priors.intercept else set(), {"Intercept"} if design.has_intercept else set()),
        "common": (set(priors.common), names),
        "centre": (set(priors.centre), names),
        "group_sd": (
            {(factor, effect) for factor, sds in priors.group_sd.items() for effect in sds},
            {(factor.name, effect) for factor in design.groups for effect in factor.effect_names},
        ),
        "lkj_eta": (set(priors.lkj_eta), {factor.name for factor in design.groups if factor.pairs}),
        "auxiliary": (set(priors.auxiliary), set(family.auxiliary)),
    }
    for part, (got, expected) in parts.items():
        if got != expected:
            raise PriorError(
                f"these Priors belong to another model: {part} covers {quoted(sorted(got, key=str))}, this model has "
                f"{quoted(sorted(expected, key=str))}. Pass a dict to override single priors."
            )
    if priors.intercept is not None:
        _prior("Intercept", priors.intercept)
        if priors.intercept.positive and any(priors.centre.values()):
            raise PriorError(
                f"the prior {priors.intercept!r} bounds the Intercept at X = 0, so its centre must be 0 throughout, "
                f"got {priors.centre!r}."
            )
    for label, prior in priors.common.items():
        _prior(label, prior)
    for factor, sds in priors.group_sd.items():
        for effect, prior in sds.items():
            _prior(f"sd_{factor}[{effect}]", prior, positive=True)
    for name, prior in priors.auxiliary.items():
        _prior(name, prior, positive=True)
    _resolve_eta(priors.lkj_eta, design)
