"""Which file of a data set is where."""
