"""The small data sets used in the examples and tests, exported unchanged from the R package lme4 (1.1-31)."""

from importlib.resources import files

import pandas as pd


def load_sleepstudy() -> pd.DataFrame:
    """Reaction times of 18 subjects over ten days of sleep deprivation.

    Returns
    -------
    pandas.DataFrame of 180 rows
        ``Reaction`` (mean reaction time, ms), ``Days`` (0 to 9), ``Subject`` (integer label).

    References
    ----------
    Belenky et al. (2003), Patterns of performance degradation and restoration during sleep restriction and
    subsequent recovery, Journal of Sleep Research 12, 1-12.

    Examples
    --------
    >>> load_sleepstudy().shape
    (180, 3)
    """
    return _load("sleepstudy")


def load_dyestuff(second: bool = False) -> pd.DataFrame:
    """Yield of dyestuff from six batches of an intermediate product.

    Parameters
    ----------
    second : bool, default=False
        Load Dyestuff2, artificial data in which the batches do not differ.

    Returns
    -------
    pandas.DataFrame of 30 rows
        ``Batch`` (A to F), ``Yield`` (grams of standard colour; arbitrary units in Dyestuff2).

    References
    ----------
    Davies (1947), Statistical Methods in Research and Production; Box & Tiao (1973), Bayesian Inference in
    Statistical Analysis, section 5.1.2.

    Examples
    --------
    >>> load_dyestuff()["Batch"].nunique()
    6
    """
    return _load("Dyestuff2" if second else "Dyestuff")


def load_penicillin() -> pd.DataFrame:
    """Growth inhibition of six penicillin samples on 24 plates: two crossed factors.

    Returns
    -------
    pandas.DataFrame of 144 rows
        ``diameter`` (mm), ``plate`` (a to x), ``sample`` (A to F).

    References
    ----------
    Davies & Goldsmith (1972), Statistical Methods in Research and Production, 4th edition, section 6.6.

    Examples
    --------
    >>> load_penicillin().shape
    (144, 3)
    """
    return _load("Penicillin")


def load_pastes() -> pd.DataFrame:
    """Strength of a chemical paste in casks nested in batches, measured twice.

    Returns
    -------
    pandas.DataFrame of 60 rows
        ``strength``, ``batch`` (A to J), ``cask`` (a to c), ``sample`` (batch and cask together).

    References
    ----------
    Davies & Goldsmith (1972), Statistical Methods in Research and Production, 4th edition, section 6.5.

    Examples
    --------
    >>> load_pastes().groupby("batch")["cask"].nunique().unique()
    array([3])
    """
    return _load("Pastes")


def load_cbpp() -> pd.DataFrame:
    """Cases of contagious bovine pleuropneumonia in 15 herds of zebu cattle, in four periods.

    Returns
    -------
    pandas.DataFrame of 56 rows
        ``herd`` (1 to 15), ``incidence`` (new cases), ``size`` (cattle at risk), ``period`` (1 to 4).

    References
    ----------
    Lesnoff, Laval, Bonnet et al. (2004), Within-herd spread of contagious bovine pleuropneumonia in Ethiopian
    highlands, Preventive Veterinary Medicine 64, 27-40.

    Examples
    --------
    >>> load_cbpp()[["incidence", "size"]].sum().tolist()
    [99, 842]
    """
    return _load("cbpp")


def load_grouseticks() -> pd.DataFrame:
    """Ticks on the heads of red grouse chicks, by brood and location.

    Returns
    -------
    pandas.DataFrame of 403 rows
        ``INDEX`` (chick), ``TICKS`` (number), ``BROOD``, ``HEIGHT`` (metres above sea level), ``YEAR`` (95 to 97),
        ``LOCATION``, ``cHEIGHT`` (HEIGHT minus its mean).

    References
    ----------
    Elston, Moss, Boulinier, Arrowsmith & Lambin (2001), Analysis of aggregation, a worked example: numbers of ticks on
    red grouse chicks, Parasitology 122, 563-569.

    Examples
    --------
    >>> load_grouseticks()["LOCATION"].nunique()
    63
    """
    return _load("grouseticks")


def load_verbagg() -> pd.DataFrame:
    """Answers of 316 persons to 24 questions on verbal aggression: whether they would, or do, curse, scold or shout.

    Returns
    -------
    pandas.DataFrame of 7,584 rows
        ``id`` (person), ``item`` (question), ``resp`` (ordered: no, perhaps, yes), ``r2`` (N, or Y for perhaps and
        yes), ``Anger`` (the person's trait anger score), ``Gender``, ``btype`` (what: curse, scold, shout), ``situ``
        (whose fault: other, self), ``mode`` (want, do).

    References
    ----------
    De Boeck & Wilson (2004), Explanatory item response models, Springer; data from Vansteelandt (2000).

    Examples
    --------
    >>> load_verbagg()["resp"].value_counts(sort=False).tolist()
    [3973, 2081, 1530]
    """
    frame = _load("VerbAgg", ".csv.gz")
    return frame.assign(resp=pd.Categorical(frame["resp"], ["no", "perhaps", "yes"], ordered=True))


def _load(name: str, ending: str = ".csv") -> pd.DataFrame:
    with (files("bayesmixed") / "data" / f"{name}{ending}").open("rb") as file:
        return pd.read_csv(file, compression="gzip" if ending.endswith("gz") else None)
