"""What may be wrong with an update file. Each text is a sentence for the operator, without any secret."""


class UpdateError(Exception):
    """An update file cannot be used; the text says why."""


class NotAnUpdate(UpdateError):
    """The file is of another kind."""


class UnknownVersion(UpdateError):
    """The file has a format that this version does not know."""


class WrongAccount(UpdateError):
    """The file is for another account."""


class WrongKey(UpdateError):
    """The file was protected with another shared secret."""


class Damaged(UpdateError):
    """The file was changed, cut or extended after it was made."""


class TooLarge(UpdateError):
    """The file, or something in it, is over a bound."""


class InvalidContent(UpdateError):
    """The file is authentic, but whoever made it put something impossible into it."""


class OlderUpdate(UpdateError):
    """What is applied already is newer."""


class WrongTime(UpdateError):
    """The file is for a month, or from a time, that does not fit the server's clock."""


class ArchiveError(Exception):
    """An applied update cannot be read or written; the text says which and why."""
