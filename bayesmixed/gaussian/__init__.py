"""Gaussian mixed models, integrated: the collapsed density, and exact draws of all effects."""
