"""Errors of networks, for people. Light: programs catch them without loading torch."""


class CheckpointError(Exception):
    """A checkpoint file that cannot be used; the message is one line: the file, what is wrong, what to do."""
