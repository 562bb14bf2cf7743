"""Sample Gaussian models with all effects integrated out: see `engine`, and `density` for the mathematics."""
