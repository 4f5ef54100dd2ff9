"""The training loop: optimizer, schedule, checkpoints, and how a run starts and ends."""
