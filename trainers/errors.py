"""Errors of a training run that a person can act on."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what was got, what was expected, and what to do."""
