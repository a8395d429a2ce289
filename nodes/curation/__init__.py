"""What stays in a data set and what does not: duplicates, poor pictures, other people, choice and split."""
