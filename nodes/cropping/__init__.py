"""Data sets cropped: to their subjects, and to the sizes that they are trained at."""
