"""What holds only if it holds for long, or again and again: `make soak` and `make kill9`."""
