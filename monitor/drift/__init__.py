"""Roll-ups become measurements."""
