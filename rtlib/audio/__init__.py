"""Telephone audio for phones that are programs: G.711 µ-law, RTP packets of it, test tones, WAV files."""
