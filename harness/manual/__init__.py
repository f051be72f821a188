"""The pages of the manual, made of what `--help` is made of: for `man`, and for the site."""
