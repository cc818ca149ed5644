"""SIP as in RFC 3261, without I/O: messages, transactions, digest, SDP."""
