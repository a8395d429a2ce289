"""What a data set looks like: contact sheets, statistics, coverage."""
