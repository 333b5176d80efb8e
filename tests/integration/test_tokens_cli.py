"""`monitor tokens`: shown once, kept as a hash, listed without either."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from monitor.cli.main import parser
from monitor.errors import UsageError
from monitor.store import tokens


def run(settings, *words: str) -> int:
    args = parser().parse_args(["tokens", *words])
    code: int = args.run(args, settings)
    return code


def test_a_token_from_its_making_to_its_end(settings, database, capsys):
    assert run(settings, "list") == 0
    assert "there is no token yet" in capsys.readouterr().err
    assert run(settings, "create", "line-7", "--scope", "ingest", "--scope", "read", "--source", "Linie 7 ü") == 0
    made = capsys.readouterr()
    secret = made.out.strip()
    assert len(secret) > 40
    assert "it is not shown again" in made.err
    assert secret not in made.err
    with database.begin() as conn:
        kept = conn.execute(text("SELECT to_jsonb(access_token) FROM access_token")).scalar_one()
    assert secret not in str(kept)
    assert hashlib.sha256(secret.encode()).hexdigest() in str(kept)
    assert run(settings, "list") == 0
    listed = capsys.readouterr().out
    assert "ingest,read" in listed
    assert "Linie 7 ü" in listed
    assert "in force" in listed
    assert secret not in listed
    assert run(settings, "revoke", "line-7") == 0
    with pytest.raises(UsageError, match="no token called 'line-7'"):
        run(settings, "revoke", "line-7")
    capsys.readouterr()
    run(settings, "list")
    assert "revoked" in capsys.readouterr().out
    assert run(settings, "create", "line-7", "--scope", "read", "--days", "9") == 0, "its name is free again"


def test_a_name_is_given_once_at_a_time(settings, capsys):
    run(settings, "create", "a", "--scope", "read")
    with pytest.raises(UsageError, match="revoke that one first"):
        run(settings, "create", "a", "--scope", "read")


@pytest.mark.parametrize(
    "words", [["--scope", "ingest"], ["--scope", "review"], ["--scope", "read", "--source", "line-7"]]
)
def test_writing_and_a_source_go_together(settings, words):
    with pytest.raises(UsageError, match="--source goes with --scope ingest or review"):
        run(settings, "create", "a", *words)


@pytest.mark.parametrize(
    "words",
    [["a"], ["a", "--scope", "root"], ["a", "--scope", "read", "--days", "0"], ["\x1b[2J", "--scope", "read"],
     [" a", "--scope", "read"], ["a" * 101, "--scope", "read"], ["a", "--scope", "ingest", "--source", ""]],
)  # fmt: skip
def test_what_is_no_token_is_refused(words):
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(["tokens", "create", *words])
    assert stop.value.code == 2


@pytest.mark.parametrize("column", ["source = ''", "scopes = '{}'", "scopes = '{ingest,root}'", "sha256 = 'short'"])
def test_the_table_itself_refuses_what_makes_no_sense(database, settings, column):
    run(settings, "create", "a", "--scope", "ingest", "--source", "s")
    with pytest.raises(IntegrityError), database.begin() as conn:
        conn.execute(text(f"UPDATE access_token SET {column}"))


def test_two_tokens_are_never_alike(database, settings, capsys):
    made = set()
    for number in range(20):
        run(settings, "create", str(number), "--scope", "read")
        made.add(capsys.readouterr().out)
    assert len(made) == 20
    assert tokens.digest("x") != tokens.digest("y")
