"""The parts of neutral drift: what asks, what a family knows, how motifs are told apart, how they are packed."""
