"""The reference CMS, program `crs-cms`: an account's clients, their provisioning, its update files."""
