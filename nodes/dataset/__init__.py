"""Character data sets: pictures with captions, as one value."""
