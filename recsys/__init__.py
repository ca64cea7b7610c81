"""Deep-learning recommenders: an event log in, one self-contained file out."""

__version__ = "0.1.0"
