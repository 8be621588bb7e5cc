"""The model of llome-best, and what it is trained on."""
