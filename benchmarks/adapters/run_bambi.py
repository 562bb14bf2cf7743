"""Bambi: the same formula, the same priors, without correlations.

Bambi's group effects are independent of each other whatever the formula says (its issue 702); on a problem with
correlated effects it fits the smaller model. Priors: Bambi's defaults are near ours, and all can be given: the
intercept's (Bambi's is at the mean of X, as ours), common effects', sigma's, and the half-normal hyperpriors of the
group standard deviations. So on problems without correlations both sample the same posterior (Student's t has a nu
that we keep above a floor, and Bambi does not).

Settings: Bambi's defaults, with our 4 chains of 1,000 draws after 1,000. Variants: ``pymc`` and ``nutpie``, names of
``inference_method``. Predictions are draws of the mean for each row, averaged; a new group borrows, in each draw, the
effects of a random fitted one (``sample_new_groups``).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import bambi
import numpy as np
import pandas as pd
from stages import Library, Spec, run


class Fitted(NamedTuple):
    """Model and posterior."""

    model: Any
    idata: Any


def term(effect: str, factor: str) -> str:
    """Bambi's name of the effects of one bar."""
    return f"{'1' if effect == 'Intercept' else effect}|{factor}"


class Bambi(Library):
    """One model of Bambi's."""

    packages = ("bambi", "formulae", "pymc", "pytensor", "arviz", "numpy", "pandas")

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.variant == "nutpie":
            self.packages = (*self.packages, "nutpie")
        if any(group.correlated for group in spec.groups):
            self.note = "group effects independent: it has no correlated ones"

    def fit(self, frame: pd.DataFrame) -> Fitted:
        """Two calls."""
        spec = self.spec
        model = bambi.Model(spec.formula, frame, family=spec.family, priors=self._priors())
        idata = model.fit(
            draws=spec.draws,
            tune=spec.tune,
            chains=spec.chains,
            cores=spec.cores,
            inference_method=spec.variant,
            random_seed=spec.seed,
            progressbar=False,
        )
        return Fitted(model, idata)

    def _terms(self) -> dict[str, list[str]]:
        """Our labels of the columns of each common term, ``period[2]`` of ``period``."""
        terms: dict[str, list[str]] = {}
        for name in self.spec.common:
            terms.setdefault(name.partition("[")[0], []).append(name)
        return terms

    def _priors(self) -> dict[str, Any]:
        spec, prior = self.spec, bambi.Prior
        priors = {"Intercept": prior("Normal", **spec.intercept)}
        if spec.sigma is not None:
            priors["sigma"] = prior("HalfStudentT", **spec.sigma)
        if spec.nu is not None:
            priors["nu"] = prior("Gamma", **spec.nu)
        for name, labels in self._terms().items():
            sds = [spec.common_sds[label] for label in labels]
            priors[name] = prior("Normal", mu=0, sigma=sds[0] if labels == [name] else np.array(sds))
        for group in spec.groups:
            for effect, sd in zip(group.effects, group.sds_at_zero, strict=True):
                priors[term(effect, group.name)] = prior("Normal", mu=0, sigma=prior("HalfNormal", sigma=sd))
        return priors

    def predict(self, model: Fitted, rows: pd.DataFrame) -> np.ndarray:
        """Average of the draws of the mean."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            predicted = model.model.predict(
                model.idata, kind="response_params", data=rows, inplace=False, sample_new_groups=True
            )
        mean = model.model.family.likelihood.parent  # "mu", of trials "p"
        means = predicted["posterior"][mean].mean(("chain", "draw")).values
        return means if self.spec.trials is None else means * rows[self.spec.trials].to_numpy()

    def draws(self, model: Fitted) -> dict[str, np.ndarray]:
        """In our names; effects of one factor side by side."""
        posterior = model.idata["posterior"]
        draws = {"Intercept": posterior["Intercept"].values}
        for name, labels in self._terms().items():
            values = posterior[name].values
            draws |= {label: values if labels == [name] else values[..., k] for k, label in enumerate(labels)}
        for group in self.spec.groups:
            for effect in group.effects:
                draws[f"sd_{group.name}[{effect}]"] = posterior[f"{term(effect, group.name)}_sigma"].values
        draws |= {name: posterior[name].values for name in ("sigma", "nu") if name in posterior}
        for group in self.spec.groups:
            parts = [posterior[term(effect, group.name)].values for effect in group.effects]
            b = np.stack(parts, axis=-1)
            draws[f"b_{group.name}"] = b[:, :, group.kept(b.shape[2])]
        return draws


if __name__ == "__main__":
    run(Bambi)
