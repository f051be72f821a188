"""`target` for people's own pytest suites: the same machines, the same patience, the same record.

:mod:`harness.pytest.plugin` is what pytest loads; it is light, and does nothing until it is given an inventory.
"""
