"""`twistd crs`: the rendezvous server."""

from twisted.application.service import ServiceMaker

crs = ServiceMaker(
    "crs", "crs.tap", "The rendezvous server: signaling, messages and media relay for secure phones.", "crs"
)
