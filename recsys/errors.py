"""The errors that end a command in one line; standard library only, so that every module may import them."""


class ConfigError(ValueError):
    """A setting is invalid; the message gives its name, its value and the remedy."""


class DataError(ValueError):
    """Input data cannot be used; the message says what is wrong, where, and the remedy."""


class TooLargeError(ValueError):
    """The catalogue is larger than a model can take; the message gives both sizes."""
