"""`twistd genproxy`: the SIP high-availability proxy."""

from twisted.application.service import ServiceMaker

genproxy = ServiceMaker(
    "genproxy", "haproxy.tap", "The SIP high-availability proxy (not related to HAProxy).", "genproxy"
)
