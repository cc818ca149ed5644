"""The rendezvous server: finds people, sets up their calls, keeps their messages, relays their media."""
