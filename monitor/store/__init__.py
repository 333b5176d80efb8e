"""The one door to Postgres: only this room speaks SQL."""
