"""What the data cannot tell, in front of a fit: refused, or named in a warning."""
