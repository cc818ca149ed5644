"""Measurements of the hot paths, each beside its floor or its peer in the same run."""
