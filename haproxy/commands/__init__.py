"""What an operator can ask genproxy, by `genproxy-cli` and manhole."""
