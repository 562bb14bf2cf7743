"""Steps that move what belongs to several large factors at once, where an update of one would hardly move."""
