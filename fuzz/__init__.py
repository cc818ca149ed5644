"""Fuzzing guided by coverage: what anybody may send to genproxy, or write into its settings (`make fuzz`)."""
