"""The registrar (RFC 3261 section 10) and its location service."""
