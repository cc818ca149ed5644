"""Why the CMS could not do something."""


class CmsError(Exception):
    """It could not be done; the text is a sentence for whoever runs the CMS."""
