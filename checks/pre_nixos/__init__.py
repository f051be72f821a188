"""A oneshot that prepares a machine (LAN, storage, then sshd), and the sshd that is ordered after it."""
