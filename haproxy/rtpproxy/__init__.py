"""The media proxy: Call > Monologue > Media > Stream, between two networks (guide 1.2.3, 7.1.14, 8)."""
