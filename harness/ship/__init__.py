"""Shipping: the lines of a record to sinks, at least once and in order, from the record as the spool."""
