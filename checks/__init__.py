"""The check modules that ship."""
