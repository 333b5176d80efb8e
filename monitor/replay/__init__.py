"""Decisions over stored history: the deciding files of the rooms, and nothing that writes."""
