"""The golden set: verified truth, scored by one match table, judged by criteria."""
