"""What networks are trained on: images, crops of them, and the damage done to crops."""
