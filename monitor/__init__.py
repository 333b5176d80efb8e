"""Production monitoring for image detection and inspection models."""
