"""Stand-in for the distribution ``http-parser``, over httptools; see the README beside it."""

__version__ = "0.9.0+eratos"
