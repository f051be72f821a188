"""What an inventory says, as values."""
