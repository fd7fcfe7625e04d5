"""What can be wrong with a dataset, its statistics, and a first class map."""
