"""What no user names: checks, randomness, files that are replaced as a whole."""

__all__: list[str] = []
