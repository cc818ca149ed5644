"""Where a SIP URI leads: NAPTR, SRV, A and AAAA (RFC 3263), cached and never waited for."""
