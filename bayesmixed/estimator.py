"""`MixedModelRegressor`: the scikit-learn contract and the order of the steps; no maths."""

from __future__ import annotations

import os
from contextlib import suppress
from copy import copy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bayesmixed import conditioning, sampling, storage
from bayesmixed import new_groups as group_modes
from bayesmixed.display import DisplayMixin
from bayesmixed.errors import FormulaError
from bayesmixed.formula import parse
from bayesmixed.frames import read_response, row_labels
from bayesmixed.grouping import GROUP_PRIORS
from bayesmixed.inputs import Rows, as_frame, fitted_rows, learn
from bayesmixed.posterior_mixin import PosteriorMixin
from bayesmixed.prediction import Posterior
from bayesmixed.prediction_mixin import PredictionMixin
from bayesmixed.priors import Priors
from bayesmixed.pymc_model import build_model
from bayesmixed.resolve import resolve_priors
from bayesmixed.sampling.nuts import BACKENDS
from bayesmixed.storage_mixin import PARTS, StorageMixin, restore

if TYPE_CHECKING:
    import pymc as pm


class MixedModelRegressor(PredictionMixin, PosteriorMixin, StorageMixin, DisplayMixin, RegressorMixin, BaseEstimator):
    r"""Bayesian linear mixed model.

    .. math:: y_i \sim N(\alpha + x_i'\beta + \sum_f z_{fi}' b_{f,g_f(i)}, \sigma^2), \qquad
              b_{f,j} \sim N(0, \Sigma_f)

    Parameters
    ----------
    formula : str, optional
        ``"Days + (Days | Subject)"`` or ``"Reaction ~ Days + (Days | Subject)"``, as in lme4 and brms. Needs X
        to be a DataFrame (pandas, polars, ...). None: Bayesian linear regression on all columns of X.
    family : {"gaussian"}, default="gaussian"
        Distribution of the response.
    link : {"identity"}, optional
        None: the family's usual link.
    group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
        Whether the effects of a bar ``|`` may correlate. ``||`` in the formula always means independent.
    lkj_eta : float or dict by factor, default=2.0
        Shape of the LKJ prior of correlations; 1 is uniform over correlation matrices.
    priors : dict or Priors, optional
        Overrides of the data-scaled defaults, on the user's scale: see `priors_`.
    sampler : {"auto", "collapsed", "nuts"}, default="auto"
        "collapsed" integrates all effects out and needs no compiler. It raises where common effects have priors
        other than Normal, where there are more than 21 group sds and correlations, and where crossed factors beside
        the largest have more than 2,500 effects. "auto" is NUTS there: `diagnostics_` says which and why.
    draws : int, default=1000
        Kept draws per chain.
    chains : int, default=4
        Number of chains.
    tune : int, default=1000
        Warm-up draws per chain (NUTS).
    target_accept : float, default=0.9
        In (0, 1): higher means smaller steps (NUTS).
    cores : int, optional
        Processes (NUTS). None: as chains and processors allow. Inside a worker of joblib or Dask, or a daemon, 1.
    nuts_backend : {"pymc", "nutpie", "numpyro", "blackjax"}, optional
        None: nutpie when installed, else pymc.
    new_groups : {"sample", "donor", "zero", "nan", "error"} or dict by factor, default="sample"
        Effect of a level that was not seen in fit: drawn from the fitted population; that of a fitted level
        picked at random; 0, the average group; NaN; an error.
    random_state : int, RandomState or None, default=None
        Makes fits and predictions reproducible.
    progressbar : bool, default=False
        Whether to show the sampler's progress.

    Attributes
    ----------
    idata_ : arviz.InferenceData or xarray.DataTree
        The labelled posterior, assembled on first access.
    coef_ : numpy.ndarray of shape (p,)
        Posterior means of the common effects.
    intercept_ : float
        Posterior mean of the intercept at X = 0; 0.0 in a model without intercept.
    priors_ : Priors
        Every prior of the model; ``priors=est.priors_`` fits the same model to other data.
    design_spec_ : DesignSpec
        What was learned from formula and data.
    diagnostics_ : dict
        Sampler and why, convergence, divergences, seconds per step.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        All columns of X in fit, when their names are strings.

    Notes
    -----
    The residual sd is kept above 1e-6 sd(y), so that even data without scatter have a posterior.

    References
    ----------
    Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, Cambridge.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0)
    >>> est.fit(df, df["Reaction"]).predict(df.head(2)).round()
    array([253., 273.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "formula": [str, None],
        "family": [str],
        "link": [str, None],
        "group_prior": [StrOptions(set(GROUP_PRIORS)), dict],
        "lkj_eta": [Interval(Real, 0, None, closed="neither"), dict],
        "priors": [dict, Priors, None],
        "sampler": [StrOptions(set(sampling.SAMPLERS))],
        "draws": [Interval(Integral, 1, None, closed="left")],
        "chains": [Interval(Integral, 1, None, closed="left")],
        "tune": [Interval(Integral, 0, None, closed="left")],
        "target_accept": [Interval(Real, 0, 1, closed="neither")],
        "cores": [Interval(Integral, 1, None, closed="left"), None],
        "nuts_backend": [StrOptions(set(BACKENDS)), None],
        "new_groups": [StrOptions(set(group_modes.MODES)), dict],
        "random_state": ["random_state"],
        "progressbar": ["boolean"],
    }

    def __init__(
        self,
        formula: str | None = None,
        *,
        family: str = "gaussian",
        link: str | None = None,
        group_prior: str | dict[str, str] = "lkj",
        lkj_eta: float | dict[str, float] = 2.0,
        priors: dict[str, Any] | Priors | None = None,
        sampler: str = "auto",
        draws: int = 1000,
        chains: int = 4,
        tune: int = 1000,
        target_accept: float = 0.9,
        cores: int | None = None,
        nuts_backend: str | None = None,
        new_groups: str | dict[str, str] = "sample",
        random_state: Any = None,
        progressbar: bool = False,
    ) -> None:
        self.formula = formula
        self.family = family
        self.link = link
        self.group_prior = group_prior
        self.lkj_eta = lkj_eta
        self.priors = priors
        self.sampler = sampler
        self.draws = draws
        self.chains = chains
        self.tune = tune
        self.target_accept = target_accept
        self.cores = cores
        self.nuts_backend = nuts_backend
        self.new_groups = new_groups
        self.random_state = random_state
        self.progressbar = progressbar

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MixedModelRegressor:
        """Draw from the posterior.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            With a formula, a DataFrame (pandas, polars or another that narwhals reads) that has the formula's columns,
            grouping factors included.
        y : array-like of shape (n,), optional
            The response. With a two-sided formula None takes the left-hand column of X; a y that is given wins.
        sample_weight : array-like of shape (n,), optional
            Frequency weights: weight 2 equals the row twice, weight 0 no row. Transformations that learn from the data
            (``scale``, ``bs``, ...) take a row once where weights are not whole, or come to more than ten million.

        Returns
        -------
        self

        Raises
        ------
        FormulaError
            The formula cannot be read or does not fit the columns.
        ValueError
            Missing or infinite values (with column and number), a response that is constant or not numeric.
        TypeError
            A frame whose rows are not in memory yet.
        SamplerError
            ``sampler="collapsed"`` and a model that is not for it.

        Warns
        -----
        ConvergenceWarning
            When the draws are not trustworthy yet, with causes and remedies.
        """
        spec, design, obs, family = learn(self, X, y, sample_weight, reset=True)
        priors = resolve_priors(design, family, self.priors, self.lkj_eta)
        group_modes.resolve_modes(self.new_groups, spec)  # a wrong one is refused before the work
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        draws = sampling.sample(
            design,
            family,
            priors,
            sampler=self.sampler,
            draws=self.draws,
            chains=self.chains,
            tune=self.tune,
            target_accept=self.target_accept,
            cores=self.cores,
            backend=self.nuts_backend,
            seed=seed,
            progressbar=self.progressbar,
        )
        self.priors_ = priors
        return self._keep(Posterior(draws, spec, family, seed), Rows.of(design, obs))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of `predict`.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            1 is perfect; 0 is as good as the mean of `y`.
        """
        check_is_fitted(self)
        y = read_response(X, y, self.design_spec_.response, type(self).__name__)
        if sample_weight is not None:  # a row of weight 0 is no row, whatever is in it
            check_consistent_length(X, y, sample_weight)
            rows = np.flatnonzero(np.asarray(sample_weight) != 0)
            X, y, sample_weight = _safe_indexing(X, rows), np.asarray(y)[rows], np.asarray(sample_weight)[rows]
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    def condition(self, X: Any, y: Any = None) -> MixedModelRegressor:
        """Learn from further rows, of known or new groups, without fitting again.

        The result is the posterior of all rows so far; priors, the place where they are stated, and transformations of
        columns stay those of the first fit. The draws of the covariances and sigma are weighted by the density of the
        new rows with all effects integrated out, and the effects are drawn anew. Where the weights are too uneven, the
        sampler runs on the merged sufficient statistics: ``diagnostics_["reason"]`` says which, and
        ``diagnostics_["k_hat"]`` is Pareto k-hat of the weights, or of the sampler. Without groups the draws are
        independent, and made anew.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            At least one row. New labels become levels, behind those of the fit; missing ones are an error.
        y : array-like of shape (n,), optional
            The response; with a two-sided formula None takes the left-hand column of X.

        Returns
        -------
        MixedModelRegressor
            A new fitted estimator, which predicts, scores, pickles and conditions again; this one is left alone.

        Raises
        ------
        FormulaError
            A column is not there, or a level of a common effect is new.
        ValueError
            Missing values, or labels of another type than the fitted ones.
        SamplerError
            The fit was made by NUTS, or the model of all rows is not one for the collapsed sampler.

        Warns
        -----
        ConvergenceWarning
            When the draws are not trustworthy yet.

        References
        ----------
        Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, Journal of Machine Learning
        Research 25(72), for k-hat.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> known, new = df[df["Subject"] != 335], df[df["Subject"] == 335]
        >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(known)
        >>> updated = est.condition(new.head(3))
        >>> bool(updated.score(new.tail(7)) > est.score(new.tail(7)))
        True
        """
        check_is_fitted(self)
        frame = as_frame(self, X, self.design_spec_.columns, reset=False)
        y = read_response(frame, y, self.design_spec_.response, type(self).__name__)
        posterior, design = conditioning.condition(self._posterior, frame, y, progressbar=self.progressbar)
        further = Rows.of(design, row_labels(X, start=len(self._rows.y)))
        return copy(self)._keep(posterior, self._rows + further)

    def loo(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Estimate how well new rows of the same kind are predicted, by leaving out each row of the fit.

        Parameters
        ----------
        X, y, sample_weight
            The rows of the fit; in the same order wherever results are compared, as ArviZ pairs them by position. After
            `condition`, those of the fit and of `condition`, whose weights are 1, in one frame.

        Returns
        -------
        arviz.ELPDData
            For ``az.compare({"a": a.loo(X, y), "b": b.loo(X, y)})``. Its attribute ``log_likelihood`` (which copies and
            pickles may lose) is the pointwise log likelihood (chain, draw, obs), whose ``attrs`` say what it is good
            for. A fit by the collapsed sampler has group and common effects integrated out, for LOO and not for WAIC
            (and ``p_loo`` counts covariances and sigma alone); one by NUTS has it conditional on the effects. A row
            of weight w stands for w equal rows, left out together.

        Raises
        ------
        ValueError
            These are not the rows of the fit, or there are fewer than 25 draws.

        Warns
        -----
        UserWarning
            From ArviZ, where a row's Pareto k-hat is too large for its value to be dependable.

        Notes
        -----
        All draws are used up to 5,000 rows (20 million numbers), then fewer, evenly thinned, down to 400.

        References
        ----------
        Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and
        WAIC, Statistics and Computing 27, 1413-1432.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> int(est.loo(df, df["Reaction"]).n_data_points)
        180
        """
        check_is_fitted(self)
        design, obs = fitted_rows(self, X, y, sample_weight)
        conditioning.check_rows(design, self._rows.checksum)
        return conditioning.loo(self._posterior, design, obs)

    def build_model(self, X: Any, y: Any = None, sample_weight: Any = None) -> pm.Model:
        """Write the model in PyMC, for reading, plotting and extending; no fit is needed.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        pymc.Model
            Variables and dims named as in `idata_`, on the user's scale.
        """
        self._validate_params()
        _, design, obs, family = learn(self, X, y, sample_weight, reset=None)
        return build_model(design, family, resolve_priors(design, family, self.priors, self.lkj_eta), obs)

    def _keep(self, posterior: Posterior, rows: Rows) -> MixedModelRegressor:
        """Store what a fit has found."""
        draws = posterior.draws
        self.design_spec_ = posterior.spec
        self.diagnostics_ = draws.diagnostics
        self.coef_ = draws.mean("beta").copy() if posterior.spec.common_names else np.empty(0)
        self.intercept_ = float(draws.mean("Intercept")) if posterior.spec.has_intercept else 0.0
        self._posterior = posterior
        self._rows = rows
        self._idata = None
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_posterior")  # a fit that fails has left names of columns

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.formula, str):
            tags.input_tags.string = tags.input_tags.categorical = True
            tags.input_tags.two_d_array = False  # columns need names
            with suppress(FormulaError):  # fit says what is wrong with it
                tags.target_tags.required = parse(self.formula).response is None
        return tags

    def __getstate__(self) -> dict[str, Any]:  # the container is assembled again on demand
        return {name: None if name == "_idata" else value for name, value in super().__getstate__().items()}


def load(path: str | os.PathLike[str]) -> MixedModelRegressor:
    """Read an estimator that `MixedModelRegressor.save` has written; nothing in the file is executed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MixedModelRegressor
        Fitted: it predicts, scores, conditions and shows its posterior as the saved one did.

    Raises
    ------
    FileNotFoundError
    StorageError
        Another program's file, a damaged one, or one of another version of the format.
    FormulaError
        A spline of a formulae that means something else by ``bs``.

    See Also
    --------
    MixedModelRegressor.save : Writes the file; with an example of both.
    """
    tree = storage.read(path, PARTS)
    est = MixedModelRegressor(**tree["params"])
    return est._keep(*restore(est, tree))
