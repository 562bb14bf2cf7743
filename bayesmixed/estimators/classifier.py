"""`MixedModelClassifier`: its parameters, probabilities of classes, and accuracy as its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.summed.running import Running
from bayesmixed.design.summed.summed import Summed
from bayesmixed.estimators.base import CONSTRAINTS, MixedModel, showing_what_it_inherits
from bayesmixed.estimators.chunked import in_chunks
from bayesmixed.estimators.inputs import Rows, rows_to_score
from bayesmixed.estimators.labels import learn_classes, positions
from bayesmixed.families import get_class_family
from bayesmixed.families.base import ClassFamily, Family
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.prediction import predict as prediction
from bayesmixed.prediction.new_groups import NewGroups
from bayesmixed.priors.priors import Priors

if TYPE_CHECKING:
    import pandas as pd


def _has_two_classes(est: MixedModelClassifier) -> bool:
    return len(est.classes_) == 2 if hasattr(est, "classes_") else est.family == "bernoulli"


@showing_what_it_inherits
class MixedModelClassifier(ClassifierMixin, MixedModel):
    r"""Bayesian mixed model for two classes, or for ordered classes.

    .. math:: P(y_i = \text{second class}) = \text{link}^{-1}(\eta_i), \qquad
              \eta_i = \alpha + x_i'\beta + \sum_f z_{fi}' b_{f,g_f(i)}, \qquad b_{f,j} \sim N(0, \Sigma_f),

    or, with thresholds :math:`c_1 < \dots < c_{K-1}` in place of :math:`\alpha` (``family="cumulative"``),

    .. math:: P(y_i \le \text{class } k) = \text{link}^{-1}(c_k - \eta_i)

    Parameters
    ----------
    formula : str, optional
        ``"x + (x | g)"`` or ``"y ~ x + (x | g)"``, as in lme4 and brms. X must then be a DataFrame (pandas, polars,
        ...). None: Bayesian logistic regression on all columns of X.
    family : str, default="bernoulli"
        "bernoulli": two classes; the model states the probability of the second of `classes_`. "cumulative": ordered
        classes; a larger linear predictor makes higher classes more probable (proportional odds), and some classes may
        have no rows. For more than two classes without an order, use
        ``sklearn.multiclass.OneVsRestClassifier(est)``.
    link : {"logit", "probit", "cloglog"}, optional
        None: "logit". "cloglog" is available only for "bernoulli".
    classes : sequence of labels, optional
        The classes in order, from the lowest. None: the order of y, if it is an ordered Categorical, otherwise the
        sorted labels of y; three or more text labels with ``family="cumulative"`` need a stated order.
    group_prior : {"lkj", "independent"} or dict by factor, default="lkj"
        Whether the effects of a bar ``|`` may correlate. ``||`` in the formula always means independent.
    lkj_eta : float or dict by factor, default=2.0
        Shape of the LKJ prior of correlations; 1 is uniform over correlation matrices.
    priors : dict or Priors, optional
        Overrides of the defaults, on the scale of the linear predictor: see `priors_`. For ordered classes,
        ``"thresholds"`` is the prior of the middle threshold, at X = 0, and ``"gaps"`` that of the distances between
        neighbouring thresholds, or a dict of priors by the class between them.
    sampler : {"auto", "transport", "nuts"}, default="auto"
        "transport" is Hamiltonian Monte Carlo in coordinates derived from a Gaussian approximation of the rows; it
        needs no compiler. It raises an error if common effects have priors other than Normal, if there are more than 21
        group sds, correlations and gaps between thresholds, if crossed factors other than the largest have more than
        300 effects, or if its chains do not agree after sixteen times as many trajectories. "auto" then falls back to
        NUTS: `diagnostics_` says which sampler ran and why.
    draws : int, default=1000
        Draws per chain to keep.
    chains : int, default=4
        Number of chains.
    tune : int, default=1000
        Warm-up draws per chain (NUTS).
    target_accept : float, default=0.9
        In (0, 1): higher means smaller steps (NUTS).
    cores : int, optional
        Processes (NUTS). None: as chains and processors allow; 1 inside a worker of joblib or Dask, or a daemon.
    nuts_backend : {"pymc", "nutpie", "numpyro", "blackjax"}, optional
        None: nutpie if it is installed, otherwise pymc.
    new_groups : {"sample", "donor", "zero", "nan", "error"} or dict by factor, default="sample"
        How to treat a level that was not seen in fit: draw its effect from the fitted population; use that of a fitted
        level picked at random; use 0, the average group; give NaN; raise an error.
    random_state : int, RandomState or None, default=None
        Makes fits and predictions reproducible.
    progressbar : bool, default=False
        Whether to show the sampler's progress.

    Attributes
    ----------
    classes_ : numpy.ndarray of shape (K,)
        The labels, in order.
    idata_ : arviz.InferenceData or xarray.DataTree
        The labelled posterior, assembled on first access.
    coef_ : numpy.ndarray of shape (p,)
        Posterior means of the common effects.
    intercept_ : float
        Posterior mean of the intercept at X = 0; 0.0 in a model without an intercept, or with thresholds instead.
    priors_ : Priors
        Every prior of the model; ``priors=est.priors_`` fits the same model to other data.
    design_spec_ : DesignSpec
        What was learned from the formula and the data.
    diagnostics_ : dict
        Which sampler ran and why, convergence, divergences, seconds per step.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        All columns of X in fit, if their names are strings.

    Notes
    -----
    Columns of `predict_proba` follow `classes_`. scikit-learn's ``log_loss``, ``roc_auc_score`` and the scorers based
    on them expect classes in the sorted order of the labels in y. If that is not the order of the classes, as with text
    or when `classes` reverses two labels, score integer codes or pass ``p[:, np.argsort(est.classes_)]``.
    ``cross_val_predict(method="predict_proba")``, ``StackingClassifier`` and ``VotingClassifier`` replace labels by
    their positions in that order before they fit, and an ordered Categorical loses its own order: for these, three or
    more classes must be integer codes (``y.cat.codes``). With `classes` of text this is an error.

    There is no ``class_weight``: it would distort the predicted probabilities. `sample_weight` says how often a row
    occurs. A threshold other than one half belongs to the decision, not the model; set it with
    ``sklearn.model_selection.FixedThresholdClassifier`` or ``TunedThresholdClassifierCV``.

    References
    ----------
    Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, Cambridge, chapter 14.

    McCullagh (1980), Regression models for ordinal data, Journal of the Royal Statistical Society B 42, 109-142.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> slow = np.where(df["Reaction"] > 300, "slow", "fast")
    >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(df, slow)
    >>> est.classes_.tolist()
    ['fast', 'slow']
    >>> new = df.iloc[[0, 9]].assign(Subject=999)
    >>> est.predict(new).tolist()
    ['fast', 'slow']
    >>> est.predict_proba(new).round(1)
    array([[0.9, 0.1],
           [0.2, 0.8]])
    >>> speed = np.array(["fast", "usual", "slow"])[np.searchsorted([260, 340], df["Reaction"])]
    >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", family="cumulative", classes=("fast", "usual", "slow"))
    >>> est.set_params(random_state=0).fit(df, speed).predict_proba(new).round(1)
    array([[0.6, 0.3, 0.1],
           [0.1, 0.4, 0.6]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {**CONSTRAINTS, "classes": ["array-like", None]}

    classes_: np.ndarray

    def __init__(
        self,
        formula: str | None = None,
        *,
        family: str = "bernoulli",
        link: str | None = None,
        classes: Sequence[Any] | np.ndarray | None = None,
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
        super().__init__(
            formula,
            family,
            link,
            group_prior=group_prior,
            lkj_eta=lkj_eta,
            priors=priors,
            sampler=sampler,
            draws=draws,
            chains=chains,
            tune=tune,
            target_accept=target_accept,
            cores=cores,
            nuts_backend=nuts_backend,
            new_groups=new_groups,
            random_state=random_state,
            progressbar=progressbar,
        )
        self.classes = classes

    @in_chunks
    def predict(
        self, X: Any, include_groups: bool | list[str] = True, new_groups: NewGroups | None = None
    ) -> np.ndarray:
        """Most probable class.

        Parameters
        ----------
        X, include_groups, new_groups
            As in `MixedModelRegressor.predict`, including rows that are not in memory.

        Returns
        -------
        numpy.ndarray of shape (n,)
            Labels of `classes_`; the first of equally probable ones.

        Raises
        ------
        NewGroupError
            For new levels, if ``new_groups="error"``.
        FormulaError
            If a column of the formula is not in X.
        ValueError
            If ``new_groups="nan"`` leaves a row without a prediction.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(df, df["Reaction"] > 300)
        >>> est.predict(df.iloc[[0, 9]])
        array([False,  True])
        """
        p = self.predict_proba(X, include_groups, new_groups)
        if none := int(np.isnan(p[:, 0]).sum()):
            raise ValueError(
                f"{none} of {len(p)} rows have no most probable class: their groups are new, and new_groups is 'nan'. "
                "predict_proba gives NaN for them; new_groups='sample' averages over the population of groups."
            )
        return self.classes_[p.argmax(axis=1)]

    @in_chunks
    def predict_proba(
        self, X: Any, include_groups: bool | list[str] = True, new_groups: NewGroups | None = None
    ) -> np.ndarray:
        """Posterior probability of each class.

        Parameters
        ----------
        X, include_groups, new_groups
            As in `predict`.

        Returns
        -------
        numpy.ndarray of shape (n, K)
            In the order of `classes_`. Each row sums to 1; with ``new_groups="nan"``, rows of new groups are NaN.

        Raises
        ------
        NewGroupError
            For new levels, if ``new_groups="error"``.
        FormulaError
            If a column of the formula is not in X.

        Notes
        -----
        Probabilities are averaged over the posterior and, for a new group under ``"sample"``, over the population of
        groups, which makes them right for rows of groups about which nothing is known. Those of the average group,
        ``"zero"``, are nearer to 0 and 1: with the logit link and a standard deviation of 2 between groups, a log-odds
        of 2 is a probability of 0.88 for the average group and of 0.78 on average over groups.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(df, df["Reaction"] > 300)
        >>> new = df.iloc[[9]].assign(Subject=999)
        >>> [est.predict_proba(new, new_groups=mode).round(2).tolist() for mode in ("sample", "zero")]
        [[[0.22, 0.78]], [[0.13, 0.87]]]
        """
        design, modes = self._new_design(X, include_groups, new_groups)
        return prediction.class_probabilities(self._posterior, design, modes)

    @in_chunks
    def predict_log_proba(
        self, X: Any, include_groups: bool | list[str] = True, new_groups: NewGroups | None = None
    ) -> np.ndarray:
        """Logarithm of `predict_proba`.

        Parameters
        ----------
        X, include_groups, new_groups
            As in `predict`.

        Returns
        -------
        numpy.ndarray of shape (n, K)
        """
        with np.errstate(divide="ignore"):  # a probability too small for a double
            return np.log(self.predict_proba(X, include_groups, new_groups))

    @available_if(_has_two_classes)
    @in_chunks
    def decision_function(
        self, X: Any, include_groups: bool | list[str] = True, new_groups: NewGroups | None = None
    ) -> np.ndarray:
        """Log-odds of the second class, from its probability in `predict_proba`. Only available for two classes.

        Parameters
        ----------
        X, include_groups, new_groups
            As in `predict`.

        Returns
        -------
        numpy.ndarray of shape (n,)
            Positive if the second class is predicted.
        """
        log_p = self.predict_log_proba(X, include_groups, new_groups)
        return log_p[:, 1] - log_p[:, 0]

    def predict_interval(
        self,
        X: Any,
        coverage: float = 0.9,
        kind: str = "mean",
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
    ) -> np.ndarray:
        """Equal-tailed posterior interval for each row, of the probability unless another kind is requested.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        coverage : float, default=0.9
            Probability of the interval, in (0, 1).
        kind, include_groups, new_groups
            As in `predict_quantiles`.

        Returns
        -------
        numpy.ndarray of shape (n, 2), or (n, K, 2)
            Lower and upper end; see `predict_quantiles`.

        Raises
        ------
        ValueError, NewGroupError
            For a `coverage` outside (0, 1), and as in `predict_quantiles`.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(df, df["Reaction"] > 300)
        >>> est.predict_interval(df.iloc[[0, 9]]).shape
        (2, 2)
        """
        return super().predict_interval(X, coverage, kind, include_groups, new_groups)

    def predict_quantiles(
        self,
        X: Any,
        quantiles: Any,
        kind: str = "mean",
        include_groups: bool | list[str] = True,
        new_groups: NewGroups | None = None,
    ) -> np.ndarray:
        """Posterior quantiles for each row, of the probability unless another kind is requested.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
        quantiles : float or array-like of shape (k,)
            Probabilities in (0, 1).
        kind : {"mean", "response", "linear"}, default="mean"
            The probability (of the second of two classes, or of each ordered class); the position in `classes_` of a
            new observation; the linear predictor.
        include_groups, new_groups
            As in `predict`.

        Returns
        -------
        numpy.ndarray of shape (n, k), or (n, K, k)
            The latter for the probabilities of ordered classes. For sampled new groups, the effects vary as well, so
            their probabilities spread over the population.

        Raises
        ------
        ValueError
            For an unknown `kind`, or a probability outside (0, 1).
        NewGroupError
            For new levels, if ``new_groups="error"``.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelClassifier("Days + (1 | Subject)", random_state=0).fit(df, df["Reaction"] > 300)
        >>> low, high = est.predict_quantiles(df.iloc[[9]], [0.05, 0.95])[0]
        >>> bool(0 < low < high < 1)
        True
        """
        return super().predict_quantiles(X, quantiles, kind, include_groups, new_groups)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy: the share of rows whose class was predicted.

        It ignores how certain the predictions were; ``sklearn.metrics.log_loss`` and `loo` do not.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        ValueError
            For a label that is not among `classes_`.
        """
        check_is_fitted(self)
        X, truth, weights = rows_to_score(self, X, y, sample_weight)
        return float(np.average(self.predict(X) == self.classes_[truth.astype(int)], weights=weights))

    def _find_family(self) -> ClassFamily:
        return get_class_family(self.family, self.link)

    def _learn_response(self, family: Family, column: pd.Series) -> tuple[Family, np.ndarray]:
        of_classes = cast(ClassFamily, family)
        classes = learn_classes(column, self.classes, ordered=of_classes.ordered)
        return type(of_classes)(family.link, classes), positions(column, classes)

    def _read_response(self, column: pd.Series) -> np.ndarray:
        return positions(column, self._posterior.family.classes)

    def _keep(self, posterior: Posterior, rows: Rows, summed: Summed | Running[Summed] | None) -> Self:
        super()._keep(posterior, rows, summed)
        self.classes_ = np.array(self._posterior.family.classes)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = self._with_formula(super().__sklearn_tags__())
        tags.classifier_tags.multi_class = self.family != "bernoulli"
        return tags
