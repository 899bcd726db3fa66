"""What a process of ours needs of its machine: process groups, progress bars, signals, permissions, loopback."""
