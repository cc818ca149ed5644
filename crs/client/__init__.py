"""The reference client: signaling, messages and encrypted audio over a crs server (docs/crs-protocol.md)."""
