"""What a console says of its machine that is no check's own verdict: a panic, an OOM kill, a unit that failed."""
