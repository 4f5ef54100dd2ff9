"""Training data: images, crops, and damage to crops."""
