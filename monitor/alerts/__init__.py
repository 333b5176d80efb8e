"""Measurements become alert states and events."""
