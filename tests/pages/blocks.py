# SPDX-License-Identifier: MIT
"""Reads the fenced blocks of Markdown pages, with the comment that may stand on the line before one:

  <!-- file: app.cpp -->      the block is a file of that name, of a project that a test builds
  <!-- compiled -->           a C++ block that is compiled and not run
  <!-- at namespace scope --> a C++ block of declarations
  <!-- continues -->          a C++ block in the scope of the one before
"""

import pathlib
import re
import typing

FENCE = re.compile(r"^```(\w*)\s*$")
COMMENT = re.compile(r"^<!-- (.*) -->$")


class Block(typing.NamedTuple):
    page: pathlib.Path
    line: int  # of its first line, from 1
    language: str
    mark: str  # what the comment before it says
    text: str


def blocks_of(page):
    """All blocks of a page, in order."""
    found, inside, previous = [], None, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            mark = COMMENT.match(previous)
            inside = Block(page, number + 1, fence[1], mark[1] if mark else "", "")
        elif fence and not fence[1]:
            found.append(inside)
            inside = None
        elif inside is not None:
            inside = inside._replace(text=inside.text + line + "\n")
        previous = line
    if inside is not None:
        raise SystemExit(f"{page}:{inside.line - 1}: this block does not end")
    return found
