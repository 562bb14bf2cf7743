"""Before a fit, find what the data cannot determine, and raise an error or name it in a warning."""
