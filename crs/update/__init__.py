"""Monthly updates: who is in an account this month, and each one's key material (manual 4.16)."""
