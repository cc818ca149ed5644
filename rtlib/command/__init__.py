"""One registry of commands that the command line, the manhole and later the REST interface act on."""
