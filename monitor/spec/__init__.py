"""The contract: one strict TOML a model."""
