"""The sinks that ship with harness, one file each. Others come through the entry point `harness.sinks`."""
