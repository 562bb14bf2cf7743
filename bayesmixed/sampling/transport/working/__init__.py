"""Rows as a quadratic approximation sees them, and the Gaussian that it makes of the effects."""
