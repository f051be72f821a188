"""What a soak does to a target on purpose: which faults there are, when they come, and how they are undone."""
