"""What an operator does by hand on a target: commands as they go on, files, consoles, diagnostics, explanations."""
