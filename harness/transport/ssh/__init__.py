"""Commands over SSH (paramiko), and sshd looked at from outside."""
