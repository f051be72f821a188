"""Stand-ins for targets, for our tests and yours."""
