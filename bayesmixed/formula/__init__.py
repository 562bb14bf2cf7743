"""The grammar of formulas: tokens, bars, and the terms that formulae evaluates."""
