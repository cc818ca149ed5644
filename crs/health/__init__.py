"""The health checks of crs-cli (manual 5.4): they look at a server from outside, as its clients do."""
