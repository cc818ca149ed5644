"""What both daemons stand on: sockets, TLS-PSK, storage, settings, commands, logging.

Knows neither daemon.
"""
