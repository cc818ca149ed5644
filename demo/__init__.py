"""The demonstration (`make demo`) and the pair of servers to play with (`make run`)."""
