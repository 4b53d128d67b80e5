"""Models to try Slipway with."""
