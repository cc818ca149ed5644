"""Tells HTTP servers what has changed in the system: JSON by POST, in order, never in the way (guide 10)."""
