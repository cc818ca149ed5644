"""Who may send us what: lists of addresses, flood detection, scanners (guide 1.2.2, 7.1.11-7.1.15)."""
