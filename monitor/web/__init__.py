"""The status page, /metrics, /healthz and /readyz."""
