"""The same plan again and again: what each iteration came to, and the statistics of it."""
