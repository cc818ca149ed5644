"""The operator's commands (manual 5.4): each function is one command of crs-cli."""
