"""The client protocol and the machine that serves it, without I/O."""
