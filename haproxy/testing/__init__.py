"""Real SIP peers for the demonstration and the scenario tests: our own phone, and drivers of Debian's."""
