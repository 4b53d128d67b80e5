"""The simulated bed: a real control plane with simulated nodes and pods, for the real operator process."""
