"""Outbound registrations: the proxy as a user agent that registers elsewhere (guide 12)."""
