"""Environment → frozen `Settings`. Nothing else in the product reads `os.environ`.

Every variable is called `MONITOR_<FIELD>`. A secret may be given as `MONITOR_<FIELD>_FILE`, the path of a file that
holds it, so that it never stands in an environment or a process list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from monitor.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """What the surroundings decide. What the model's owner decides stands in the contract."""

    state_dir: Path = Path("state")
    """Where the spool and the embedded Postgres live (MONITOR_STATE_DIR, default ./state)."""
    contracts_dir: Path = Path("contracts")
    """Folder with one TOML a model (MONITOR_CONTRACTS_DIR, default ./contracts)."""
    database_url: str | None = field(default=None, repr=False)
    """A real server, PostgreSQL 15 or later (MONITOR_DATABASE_URL); without it the embedded one is started."""
    embedded_port: int | None = None
    """Opens the embedded Postgres on 127.0.0.1 with a password (MONITOR_EMBEDDED_PORT)."""
    disk_reserve_mib: int | None = None
    """MiB of the embedded Postgres' disk that loads leave free; None: by its size (MONITOR_DISK_RESERVE_MIB)."""
    ballast_mib: int | None = None
    """MiB of the file given up when a full disk keeps the embedded Postgres down; 0: none (MONITOR_BALLAST_MIB)."""
    lease_s: float = 10.0
    """How long a leader that is not heard of goes on leading; another takes over a look later (MONITOR_LEASE_S)."""
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    series_budget: int = 2000
    """Series that /metrics holds at most (MONITOR_SERIES_BUDGET)."""
    webhook_url: str | None = field(default=None, repr=False)
    """Where alert events are posted (MONITOR_WEBHOOK_URL or MONITOR_WEBHOOK_URL_FILE)."""
    webhook_secret: str | None = field(default=None, repr=False)
    """Key of the HMAC-SHA256 signature of a webhook's body."""
    deadman_url: str | None = field(default=None, repr=False)
    """Posted to every minute while all is well (MONITOR_DEADMAN_URL or MONITOR_DEADMAN_URL_FILE)."""
    alertmanager_url: str | None = field(default=None, repr=False)
    """Alertmanager that alerts are pushed to (MONITOR_ALERTMANAGER_URL)."""
    notify_urls: str | None = field(default=None, repr=False)
    """Slack, Teams, e-mail and others: addresses as Apprise writes them, by blank or line (MONITOR_NOTIFY_URLS)."""
    paging: str = ""
    """What pages, if it is to be said: alertmanager, webhook, notify, prometheus, log (MONITOR_PAGING)."""
    fallback: str = ""
    """The path that stands in while the one that pages is away (MONITOR_FALLBACK)."""
    private_receivers: str = ""
    """Receivers that are no public addresses: networks, addresses, names (MONITOR_PRIVATE_RECEIVERS)."""
    public_url: str | None = None
    """Where people reach the built-in page, for links in messages (MONITOR_PUBLIC_URL); None: by host and port."""
    grafana_url: str | None = None
    """Where people reach Grafana, for links to its panels (MONITOR_GRAFANA_URL); None: links lead to the page."""

    @property
    def page_url(self) -> str:
        """The built-in page, as a link names it."""
        return self.public_url or f"http://{self.http_host}:{self.http_port}"

    @property
    def spool_dir(self) -> Path:
        """`incoming/`, `done/` and `quarantine/` lie in it."""
        return self.state_dir / "spool"


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    path = environ.get(f"{name}_FILE")
    if path and environ.get(name):
        raise UsageError(f"{name} and {name}_FILE are both set; keep one of them")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name}_FILE names {path}, which cannot be read: {error}") from error
    return environ.get(name) or None


def _port(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"{name} is {text!r}; give a port from 1 to 65535")
    return int(text)


def _series(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 100:
        raise UsageError(f"{name} is {text!r}; give a number of series, 100 or more")
    return int(text)


def _mebibytes(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}; give a whole number of MiB, such as 256")
    return int(text)


def _lease(environ: Mapping[str, str], name: str) -> float:
    text = environ.get(name) or "10"
    if not text.isdecimal() or not 1 <= int(text) <= 30:
        raise UsageError(f"{name} is {text!r}; give a whole number of seconds from 1 to 30")
    return float(text)


def _address(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    if text and not text.startswith(("http://", "https://")):
        raise UsageError(f"{name} is {text!r}; write it as https://host or https://host/path")
    return text or None


def for_children() -> dict[str, str]:
    """The environment for a process that speaks to others: without the product's settings and without proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("MONITOR_") or name.lower().endswith("_proxy"))
    }


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (the process's own environment by default).

    Raises:
        UsageError: a variable has a value that cannot be used.
    """
    env = os.environ if environ is None else environ
    return Settings(
        state_dir=Path(env.get("MONITOR_STATE_DIR") or "state").absolute(),
        contracts_dir=Path(env.get("MONITOR_CONTRACTS_DIR") or "contracts").absolute(),
        database_url=_secret(env, "MONITOR_DATABASE_URL"),
        embedded_port=_port(env, "MONITOR_EMBEDDED_PORT"),
        disk_reserve_mib=_mebibytes(env, "MONITOR_DISK_RESERVE_MIB"),
        ballast_mib=_mebibytes(env, "MONITOR_BALLAST_MIB"),
        lease_s=_lease(env, "MONITOR_LEASE_S"),
        http_host=env.get("MONITOR_HTTP_HOST") or "127.0.0.1",
        http_port=_port(env, "MONITOR_HTTP_PORT") or 8080,
        series_budget=_series(env, "MONITOR_SERIES_BUDGET") or 2000,
        webhook_url=_secret(env, "MONITOR_WEBHOOK_URL"),
        webhook_secret=_secret(env, "MONITOR_WEBHOOK_SECRET"),
        deadman_url=_secret(env, "MONITOR_DEADMAN_URL"),
        public_url=_address(env, "MONITOR_PUBLIC_URL"),
        grafana_url=_address(env, "MONITOR_GRAFANA_URL"),
        alertmanager_url=_secret(env, "MONITOR_ALERTMANAGER_URL"),
        notify_urls=_secret(env, "MONITOR_NOTIFY_URLS"),
        paging=env.get("MONITOR_PAGING") or "",
        fallback=env.get("MONITOR_FALLBACK") or "",
        private_receivers=env.get("MONITOR_PRIVATE_RECEIVERS") or "",
    )
