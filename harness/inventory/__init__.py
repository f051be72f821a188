"""Inventories: text in; hosts, groups, variables and patterns out. Knows nothing of SSH, QEMU or checks."""

from harness.inventory.inventory import Explanation, Giver, Group, Host, Inventory
from harness.inventory.loading import load
from harness.inventory.places import Notice

__all__ = ["Explanation", "Giver", "Group", "Host", "Inventory", "Notice", "load"]
