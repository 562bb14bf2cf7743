"""The user's priors, merged into the defaults or taken as they are; those that do not fit the model raise an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bayesmixed.design.summed.summed import Measured, Named
from bayesmixed.distributions import Normal, Prior, StudentT, Truncated
from bayesmixed.errors import PriorError, quoted
from bayesmixed.families.base import Family
from bayesmixed.priors.defaults import default_priors, resolve_eta, response_of
from bayesmixed.priors.priors import Priors, reflected

# a name with a place, as written by `stated_at`
_PLACE = re.compile(r"(?P<name>(?P<variable>beta|sd_.+?)\[(?P<label>.+?)\]|.+?)( at .+ = | [-+] )")


def resolve_priors(
    design: Measured,
    family: Family,
    user: Mapping[str, Any] | Priors | None = None,
    lkj_eta: float | Mapping[str, float] = 2.0,
) -> Priors:
    """Merge the user's priors into the defaults.

    Parameters
    ----------
    design : Design or Summed
        With a response.
    family : Family
    user : dict, Priors or None
        Keys: ``"Intercept"``, ``"beta"`` (one prior, or a dict by label), ``"sd_<factor>"`` (one prior, or a
        dict by effect), auxiliary parameters, a bare label or term of the common part, or a name as `print` shows it,
        ``"beta[x]"``, ``"sd_<factor>[x]"``. For ordered responses, ``"thresholds"``, the prior of the middle one (a
        Normal or StudentT), replaces the intercept, and ``"gaps"`` is one prior of the gaps between neighbouring ones,
        or a dict by the class in between. A `Priors` is used as it is, including its own ``lkj_eta``.
    lkj_eta : float or dict by factor, default=2.0
        Ignored when `user` is a `Priors`.

    Raises
    ------
    PriorError
        An unknown or ambiguous name, a prior of the wrong support, a value that is not a prior.
    """
    if isinstance(user, Priors):
        _check_fits(user, design, family)
        bounds = family.auxiliary_priors(1.0, response_of(design, family))
        auxiliary = {name: _above(prior, bounds[name]) for name, prior in user.auxiliary.items()}
        return user if auxiliary == user.auxiliary else replace(user, auxiliary=auxiliary)
    given = stated_priors(design, family, user, lkj_eta)
    stated = {"beta": [*given.common, *(["Intercept"] if given.intercept else [])], **given.group_sd}
    default = default_priors(design, family, lkj_eta, stated)
    return replace(
        default,
        intercept=given.intercept or default.intercept,
        common=default.common | given.common,
        group_sd={factor: sds | given.group_sd[factor] for factor, sds in default.group_sd.items()},
        auxiliary={name: _above(given.auxiliary.get(name, prior), prior) for name, prior in default.auxiliary.items()},
    )


def stated_priors(
    design: Named,
    family: Family,
    user: Mapping[str, Any] | Priors | None,
    lkj_eta: float | Mapping[str, float],
) -> Priors:
    """Check the priors that the user states before all rows are known, as `resolve_priors` does.

    A `Priors` is taken as it is: what it has to cover depends on the levels in all rows.

    Raises
    ------
    PriorError
        As in `resolve_priors`.
    """
    if isinstance(user, Priors):
        return user
    if not isinstance(user, Mapping | None):
        raise PriorError(f"priors must be a dict, the priors_ of a fit, or None, got {type(user).__name__}.")
    resolve_eta(lkj_eta, design)
    return _read(user or {}, design, family)


def _above(prior: Prior, default: Prior) -> Prior:
    """A user's prior, with the default's restriction."""
    is_free = isinstance(default, Truncated) and not isinstance(prior, Truncated)
    return replace(default, prior=prior) if is_free else prior  # type: ignore[call-arg]


def _read(user: Mapping[str, Any], design: Named, family: Family) -> Priors:
    """Check the priors that the user states; those not stated are absent."""
    intercept: Prior | None = None
    common: dict[str, Prior] = {}
    group_sd: dict[str, dict[str, Prior]] = {factor.name: {} for factor in design.groups}
    auxiliary: dict[str, Prior] = {}
    effects = {factor.name: factor.effect_names for factor in design.groups}
    for name, given in user.items():
        if not isinstance(name, str):
            raise PriorError(
                f"the keys of priors must be names, got {name!r}; valid names: {quoted(_names(design, family))}."
            )
        _refuse_place(name, design, family)
        key, value = _split(name, given, design)
        if _labels_of(key, design) and key in _names(design, family):
            raise PriorError(
                f"prior {key!r} is ambiguous; for the common effect write priors={{'beta': {{{key!r}: ...}}}}."
            )
        if key in ("Intercept", "thresholds", f"thresholds[{family.threshold}]") and family.threshold:
            _refuse_second(intercept is not None, f"thresholds[{family.threshold}]")
            intercept = _of_threshold(key, value, family)
        elif key == "Intercept" and design.has_intercept:
            intercept = _prior(key, value)
        elif key == "beta" and design.common_names:
            by_label = value if isinstance(value, Mapping) else dict.fromkeys(design.common_names, value)
            for label, prior in by_label.items():
                _set_common(common, label, prior, design, family)
        elif key.startswith("sd_") and key[3:] in group_sd:
            _set_sds(group_sd[key[3:]], key, value, effects[key[3:]])
        elif key in family.auxiliary:
            _refuse_second(key in auxiliary, key)
            auxiliary[key] = _prior(key, value, positive=True)
        elif own := _entries(family).get(key):
            for entry, prior in _by_entry(key, value, own).items():
                _refuse_second(entry in auxiliary, entry)
                auxiliary[entry] = prior
        else:
            _set_common(common, key, value, design, family)
    return Priors(intercept, common, group_sd, {}, auxiliary)


def _of_threshold(key: str, value: Any, family: Family) -> Prior:
    """The intercept's prior, that of the negated middle threshold."""
    if key == "Intercept":
        raise PriorError(
            f"family={family.name!r} has thresholds instead of an Intercept; write priors={{'thresholds': ...}} for "
            f"the prior of the middle one, {family.threshold!r}."
        )
    if isinstance(value, Mapping):
        if list(value) != [family.threshold]:
            raise PriorError(
                f"only the middle threshold, {family.threshold!r}, has a prior of its own; for the others, state "
                f"priors of the gaps between neighbouring thresholds ('gaps'); got priors for {quoted(value)}."
            )
        value = value[family.threshold]
    return reflected(_two_sided(_prior(key, value)))


def _two_sided(prior: Prior) -> Prior:
    if not isinstance(prior, Normal | StudentT):
        raise PriorError(f"the prior of the middle threshold must be Normal or StudentT, got {prior!r}.")
    return prior


def _entries(family: Family) -> dict[str, dict[str, str]]:
    """Auxiliary parameters that are entries of a vector: their names by label, by the vector's name."""
    found: dict[str, dict[str, str]] = {}
    for name in family.auxiliary:
        variable, bracket, label = name.removesuffix("]").partition("[")
        if bracket:
            found.setdefault(variable, {})[label] = name
    return found


def _by_entry(key: str, value: Any, names: Mapping[str, str]) -> dict[str, Prior]:
    """Priors of a vector's entries: one for all, or a dict by label."""
    given = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
    by_label = {str(label): prior for label, prior in given.items()}  # classes may be numbers
    for label in by_label:
        if label not in names:
            raise PriorError(f"prior {key!r} names {label!r}, but its entries are {quoted(names)}.")
    return {names[label]: _prior(names[label], prior, positive=True) for label, prior in by_label.items()}


def _refuse_place(key: str, design: Named, family: Family) -> None:
    """Reject a name that includes the place where a default is stated, as `print` shows it: keys mean X = 0."""
    found = _PLACE.match(key)
    if found is None or _labels_of(key, design):
        return
    name, label = found["name"], found["label"] or found["name"]
    effects = {f"sd_{factor.name}": factor for factor in design.groups}
    if name == "Intercept":
        change = "intercept=Normal(...)"
    elif family.threshold and name == f"thresholds[{family.threshold}]":
        change = "intercept=Normal(...), the prior of the negated threshold"
    elif name in effects or found["variable"] in effects:
        factor = effects[found["variable"] or name]
        if found["label"] and label not in factor.effect_names:
            return
        some = f"{label!r}: HalfNormal(...)" if found["label"] else "'Intercept': HalfNormal(...)"
        change = (
            f"group_sd=est.priors_.group_sd | {{{factor.name!r}: est.priors_.group_sd[{factor.name!r}] | {{{some}}}}}"
        )
    elif labels := _labels_of(label, design):
        change = f"common=est.priors_.common | {{{labels[0]!r}: Normal(...)}}"
    else:
        return
    raise PriorError(
        f"prior {key!r} names a place, but the priors in a dict are those of the parameters as written, at X = 0. "
        f"Write {name!r} for that one; to change the prior at the place where the default is stated, pass "
        f"priors=dataclasses.replace(est.priors_, {change})."
    )


def _split(key: str, value: Any, design: Named) -> tuple[str, Any]:
    """Turn ``sd_g[x]``, as in tables, into a dict by effect with one entry, and ``beta[x]`` into one by label."""
    variable, bracket, label = key.removesuffix("]").partition("[")
    known = variable in ("beta", *(f"sd_{factor.name}" for factor in design.groups))
    is_entry = bracket and key.endswith("]") and known and not _labels_of(key, design)
    return (variable, {label: value}) if is_entry else (key, value)


def _names(design: Named, family: Family) -> list[str]:
    """List the keys that `resolve_priors` takes in addition to labels and terms."""
    first = ["thresholds"] if family.threshold else ["Intercept"] if design.has_intercept else []
    names = [*first, *(["beta"] if design.common_names else []), *(f"sd_{factor.name}" for factor in design.groups)]
    return [*names, *_entries(family), *family.auxiliary]


def _labels_of(name: str, design: Named) -> list[str]:
    """Column labels that a label or a term stands for."""
    if name in design.common_names:
        return [name]
    return [label for label, term in zip(design.common_names, design.common_terms, strict=True) if term == name]


def _set_common(common: dict[str, Prior], name: str, value: Any, design: Named, family: Family) -> None:
    labels = _labels_of(name, design)
    if not labels:
        terms = dict.fromkeys([*design.common_names, *design.common_terms])
        raise PriorError(
            f"unknown prior {name!r}; valid names: {quoted([*_names(design, family), *terms], at_most=50)}."
        )
    for label in labels:
        _refuse_second(label in common, label)
        common[label] = _prior(label, value)


def _set_sds(sds: dict[str, Prior], key: str, value: Any, effects: tuple[str, ...]) -> None:
    by_effect = value if isinstance(value, Mapping) else dict.fromkeys(effects, value)
    for effect, prior in by_effect.items():
        if effect not in effects:
            raise PriorError(f"prior {key!r} names the effect {effect!r}, but the effects are {quoted(effects)}.")
        _refuse_second(effect in sds, f"{key}[{effect}]")
        sds[effect] = _prior(f"{key}[{effect}]", prior, positive=True)


def _refuse_second(given: bool, name: str) -> None:
    """Reject two entries for one parameter: which counts would depend on their order."""
    if given:
        raise PriorError(f"{name!r} has two priors; keep only one of the entries that name it.")


def _prior(name: str, value: Any, positive: bool = False) -> Prior:
    if not isinstance(value, Prior) or type(value) is Prior:
        raise PriorError(
            f"prior of {name!r} must be a distribution such as {'HalfNormal' if positive else 'Normal'}, got {value!r}."
        )
    if positive and not value.positive:
        raise PriorError(
            f"prior of {name!r} must have positive support (HalfNormal, HalfStudentT, Exponential, LogNormal, Gamma or "
            f"InverseGamma), got {value!r}."
        )
    return value


def _check_fits(priors: Priors, design: Measured, family: Family) -> None:
    """Reject the `Priors` of another model, and values that are not priors."""
    names = set(design.common_names)
    parts: dict[str, tuple[set, set]] = {
        "intercept": ({"Intercept"} if priors.intercept else set(), {"Intercept"} if design.has_intercept else set()),
        "common": (set(priors.common), names),
        "group_sd": (
            {(factor, effect) for factor, sds in priors.group_sd.items() for effect in sds},
            {(factor.name, effect) for factor in design.groups for effect in factor.effect_names},
        ),
        "lkj_eta": (set(priors.lkj_eta), {factor.name for factor in design.groups if factor.pairs}),
        "auxiliary": (set(priors.auxiliary), set(family.auxiliary)),
        "threshold": ({priors.threshold} - {""}, {family.threshold} - {""}),
    }
    for part, (got, expected) in parts.items():
        if got != expected:
            raise PriorError(
                f"these Priors belong to another model: {part} covers {_named(got)}, but this model has "
                f"{_named(expected)}. To override single priors, pass a dict."
            )
    if priors.intercept is not None:
        _prior("Intercept", priors.intercept)
        if family.threshold:
            _two_sided(priors.intercept)
    _check_swept(priors, design)
    for label, prior in priors.common.items():
        _prior(label, prior)
    for factor, sds in priors.group_sd.items():
        for effect, prior in sds.items():
            _prior(f"sd_{factor}[{effect}]", prior, positive=True)
    for name, prior in priors.auxiliary.items():
        _prior(name, prior, positive=True)
    resolve_eta(priors.lkj_eta, design)


def _named(names: set) -> str:
    return quoted(sorted(names, key=str)) or "nothing"


def _check_swept(priors: Priors, design: Measured) -> None:
    """Reject columns that are swept of columns they do not contain."""
    intercept = ["Intercept"] if design.has_intercept else []
    inner = design.contains or [()] * len(design.common_names)
    allowed = {
        "swept": {
            name: [*intercept, *(design.common_names[at] for at in of)]
            for name, of in zip(design.common_names, inner, strict=True)
        }
    }
    for factor in design.groups:
        names, blocks = factor.effect_names, {at: block for block in factor.blocks for at in block}
        allowed[f"group_swept[{factor.name!r}]"] = {
            name: [names[other] for other in factor.contains[at] if other in blocks[at]]
            for at, name in enumerate(names)
        }
    given = {"swept": priors.swept} | {f"group_swept[{name!r}]": fits for name, fits in priors.group_swept.items()}
    for part, fits in given.items():
        for name, fit in fits.items():
            expected = allowed.get(part, {}).get(name, [])
            if wrong := [other for other in fit if other not in expected]:
                raise PriorError(
                    f"these Priors belong to another model: {part} has {name!r} swept of {quoted(wrong)}, but this "
                    f"model allows only {quoted(expected) or 'nothing'}."
                )
            for other, value in fit.items():
                if not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
                    raise PriorError(f"{part}[{name!r}][{other!r}] must be a finite number, got {value!r}.")
