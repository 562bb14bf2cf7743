"""Collapsed Gibbs sampling of Gaussian models with large crossed factors."""
