"""What can be wrong with a data set, found before a minute is spent training."""
