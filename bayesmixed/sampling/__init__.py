"""One engine per module, each with one function ``sample(...) -> Draws``."""
