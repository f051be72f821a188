"""Planted faults, each with its true cause; and healthy machines that must raise no alarm."""
