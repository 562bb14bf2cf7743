"""Draw from the posterior: the engines, and the choice between them."""
