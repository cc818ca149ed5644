"""The transaction-stateful proxy (RFC 3261 section 16) with the routing rules of the guide, 1.2.4."""
