"""The dispatcher: two sets of Genesis systems, one of them primary (guide 1.2.1, 7.1.16-7.1.23)."""
