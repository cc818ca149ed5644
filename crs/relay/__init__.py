"""The UDP media relay: allocations, bind packets, and their use of rtlib's forwarder."""
