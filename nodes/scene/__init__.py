"""Several characters in one picture, each in its own region."""
