"""The protocol of an engine: it draws from the posterior of a model, or says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bayesmixed.design.spec import Design
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import SamplerError
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model


@dataclass(frozen=True)
class Settings:
    """How to sample, from the estimator's parameters.

    Attributes
    ----------
    sampler : str
        The name of an engine, or "auto".
    draws, chains : int
        Kept draws per chain, number of chains.
    seed : int
    progressbar : bool
    tune : int
        Warm-up draws per chain; this and the following are for NUTS only.
    target_accept : float
    cores : int or None
        Processes; None: as many as chains and processors allow.
    backend : str or None
        None: nutpie when installed, else pymc.
    """

    sampler: str
    draws: int
    chains: int
    seed: int
    progressbar: bool = False
    tune: int = 1000
    target_accept: float = 0.9
    cores: int | None = None
    backend: str | None = None


NEEDS_ROWS = "it needs the rows, not sums over them"


def rows_of(design: Measured) -> Design:
    """The design for an engine that needs rows.

    Raises
    ------
    SamplerError
    """
    if isinstance(design, Summed):
        raise SamplerError(NEEDS_ROWS)
    return design


class Engine(Protocol):
    """An engine is a module with a name and these functions; `choose` lists all engines."""

    NAME: str

    def takes(self, family: Family) -> bool:
        """Whether the engine handles responses of the family."""

    def refuses(self, model: Model, design: Measured, settings: Settings) -> str:
        """Why the engine does not take the model, as text for the user; empty if it does."""

    def sample(self, model: Model, design: Measured, settings: Settings) -> Draws:
        """Draw from the posterior.

        Raises
        ------
        SamplerError
            The engine gives up, saying why: the model is too large after all, or the draws cannot be trusted.
        """

    def advice(self, design: Measured, settings: Settings, diverged: bool, mixes: bool) -> tuple[list[str], list[str]]:
        """Usual causes and remedies if draws diverged or chains do not mix."""
