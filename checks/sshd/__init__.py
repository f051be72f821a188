"""What an engineer would check of sshd, from outside and from inside."""
