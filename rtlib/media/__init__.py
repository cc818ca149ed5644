"""Moving of media packets: what decides (RTP header, flows) and what moves (forwarders)."""
