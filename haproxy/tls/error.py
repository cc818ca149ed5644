"""What an operator can mend."""


class TlsError(Exception):
    """A section cannot be used; the text names the section, the file and what is wrong with it."""
