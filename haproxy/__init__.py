"""genproxy, the SIP high-availability proxy in front of Genesis telephone systems. Not related to HAProxy."""
