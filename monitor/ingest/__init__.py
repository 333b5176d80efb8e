"""Records become rows and roll-ups."""
