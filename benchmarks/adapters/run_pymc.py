"""Plain PyMC: the model of the forum thread that started this project, as a user writes it.

The thread's author had ``pm.LKJCholeskyCov`` on the data's own scale, effects as standard normals times its Cholesky
factor, and the intercept at X = 0; independent effects by one standard deviation each. That structure is kept. His
priors (half-normal of scale 100 for nearly all) are replaced by ours, so that both sample the same posterior:

- intercept: ours is Normal at the mean of X; given the slopes, that is a Normal on the intercept at X = 0;
- common effects, group standard deviations, sigma: the same distributions;
- correlations: LKJ of the same eta.

Settings: PyMC's defaults (target_accept 0.8, its own NUTS, as many processes as processors), with our 4 chains of
1,000 draws after 1,000. PyTensor keeps compiled code on disk between processes; a first run ever is slower.

The prediction is the mean over draws by NumPy, which is the fastest a user can have; `pm.set_data` and
`pm.sample_posterior_predictive` take seconds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pymc as pm
from stages import Group, Library, run


class Fitted(NamedTuple):
    """The posterior, and the levels of each factor in its order."""

    posterior: Any
    levels: dict[str, pd.Index]


class PyMC(Library):
    """The model, for any number of factors."""

    packages = ("pymc", "pytensor", "arviz", "numpy", "scipy", "pandas")

    def fit(self, frame: pd.DataFrame) -> Fitted:
        """Write the model and sample."""
        spec, levels = self.spec, {}
        with pm.Model():
            beta = {name: pm.Normal(name, 0, spec.common_sds[name]) for name in spec.common}
            shift = sum(beta[name] * spec.centre[name] for name in spec.common)
            mu = pm.Normal("Intercept", spec.intercept["mu"] - shift, spec.intercept["sigma"])
            for name in spec.common:
                mu = mu + beta[name] * frame[name].to_numpy()
            for group in spec.groups:
                codes, levels[group.name] = pd.factorize(group.labels(frame), sort=True)
                b, z = self._effects(group, len(levels[group.name])), group.z(frame)
                for k in range(len(group.effects)):
                    mu = mu + b[codes, k] * z[:, k]
            sigma = pm.HalfStudentT("sigma", nu=spec.sigma["nu"], sigma=spec.sigma["sigma"])
            pm.Normal("y", mu, sigma, observed=frame[spec.response].to_numpy())
            idata = pm.sample(
                draws=spec.draws,
                tune=spec.tune,
                chains=spec.chains,
                cores=spec.cores,
                nuts_sampler="pymc",
                random_seed=spec.seed,
                progressbar=False,
            )
        return Fitted(idata["posterior"], levels)

    def _effects(self, group: Group, n_levels: int) -> Any:
        """Group effects (n_levels, q)."""
        q, sds = len(group.effects), np.array(group.sds)
        z = pm.Normal(f"z_{group.name}", 0, 1, shape=(n_levels, q))
        if not group.correlated:
            return pm.Deterministic(f"b_{group.name}", z * pm.HalfNormal(f"sd_{group.name}", sds, shape=q))
        sd_prior = pm.HalfNormal.dist(sds, shape=q)
        root, _, _ = pm.LKJCholeskyCov(f"chol_{group.name}", n=q, eta=self.spec.lkj_eta, sd_dist=sd_prior)
        root = pm.Deterministic(f"root_{group.name}", np.array(group.sweep) @ root)
        return pm.Deterministic(f"b_{group.name}", z @ root.T)

    def predict(self, model: Fitted, rows: pd.DataFrame) -> np.ndarray:
        """Mean over the draws; effects of new levels are left out."""
        mu = model.posterior["Intercept"].values[..., None]
        for name in self.spec.common:
            mu = mu + model.posterior[name].values[..., None] * rows[name].to_numpy()
        for group in self.spec.groups:
            codes = model.levels[group.name].get_indexer(group.labels(rows))
            b = np.where(codes[:, None] >= 0, model.posterior[f"b_{group.name}"].values[:, :, codes], 0.0)
            mu = mu + (b * group.z(rows)).sum(axis=-1)
        return mu.mean(axis=(0, 1))

    def draws(self, model: Fitted) -> dict[str, np.ndarray]:
        """As they come; the standard normals and the factor's entries are not counted as parameters."""
        posterior = model.posterior
        draws = {name: posterior[name].values for name in ["Intercept", *self.spec.common]}
        for group in self.spec.groups:
            if group.correlated:
                root = posterior[f"root_{group.name}"].values
                sd = np.linalg.norm(root, axis=-1)
                draws[f"corr_{group.name}"] = (root[..., 0, :] * root[..., 1, :]).sum(axis=-1) / (
                    sd[..., 0] * sd[..., 1]
                )
            else:
                sd = posterior[f"sd_{group.name}"].values
            draws |= {f"sd_{group.name}[{effect}]": sd[..., k] for k, effect in enumerate(group.effects)}
        draws["sigma"] = posterior["sigma"].values
        for group in self.spec.groups:
            b = posterior[f"b_{group.name}"].values
            draws[f"b_{group.name}"] = b[:, :, group.kept(b.shape[2])]
        return draws


if __name__ == "__main__":
    run(PyMC)
