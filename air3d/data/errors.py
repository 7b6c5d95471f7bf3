"""The one error of this package."""


class DataError(ValueError):
    """Data that cannot be read or written; the message names the file and the remedy."""
