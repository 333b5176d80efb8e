"""The daemon: jobs by the clock, and the web beside them."""
