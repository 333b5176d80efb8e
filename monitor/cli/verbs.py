"""What `--help` says of a verb: what it does, and its examples, which its noun has said already."""

from __future__ import annotations

import argparse
import textwrap


class Help(argparse.RawDescriptionHelpFormatter):
    """Folds the lines of descriptions that are too long, and leaves all others, examples among them, as written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        folded = (
            line if line.startswith(" ") else textwrap.fill(line, width, break_on_hyphens=False)
            for line in text.splitlines()
        )
        return textwrap.indent("\n".join(folded), indent)


def complete(nouns: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Give every noun and verb the formatter, and every verb without one a description and its examples."""
    for name, noun in nouns.choices.items():
        noun.formatter_class = Help
        for verbs in noun._actions:
            if isinstance(verbs, argparse._SubParsersAction):
                said = {one.dest: one.help for one in verbs._choices_actions}
                for verb, parser in verbs.choices.items():
                    parser.formatter_class = Help
                    parser.description = parser.description or _sentence(said[verb] or "")
                    parser.epilog = parser.epilog or _examples(noun.epilog or "", f"monitor {name} {verb}")


def _sentence(phrase: str) -> str:
    return f"{phrase[:1].upper()}{phrase[1:]}."


def _examples(epilog: str, command: str) -> str:
    """The examples of one command, each with the lines that go on with it."""
    found: list[str] = []
    is_one = False
    for line in epilog.splitlines():
        goes_on = is_one and line.startswith("   ")
        is_one = goes_on or f"{line} ".startswith(f"  {command} ")
        if is_one:
            found.append(line)
    title = "example:" if len(found) == 1 else "examples:"
    return "\n".join((title, *found)) if found else ""
