"""Steps that move the coordinates of several large factors at once, where an update of one would hardly move."""
