# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a page of the manual has its reader do: commands to type, files to write.

A command is in a block of the language console, behind a prompt that tells
who types it, and where; what it prints may be below it, "..." for any text or
any lines. A file is in a block with a caption. A comment of the form
".. happens: WORDS" is what the world does at that place; readers do not see
it.
"""

import dataclasses
import re
import textwrap

from . import paths

PAGES = paths.TOP / 'docs'
_PROMPT = re.compile(r'(?P<who>root|you)@(?P<host>\w+):~[#$] (?P<command>.+)')
_BLOCK = re.compile(r'( *)\.\. code-block:: (\w+)$')
_HAPPENS = re.compile(r' *\.\. happens: (.+)')
_NUMBER = re.compile(r'\d+(\.\d+)?( (B|KiB|MiB|GiB|TiB)\b)?')


@dataclasses.dataclass
class Command:
    """Somebody types something."""

    line: int
    host: str
    text: str
    output: list

    def prints(self, text):
        """Whether @text is what the manual says; numbers may differ."""
        return bool(_pattern(self.output).fullmatch(_plain(text)))


@dataclasses.dataclass
class File:
    """Somebody writes a file, or adds to one."""

    line: int
    caption: str
    text: str


@dataclasses.dataclass
class Happening:
    """Something happens."""

    line: int
    text: str


def _plain(text):
    lines = (re.sub(r'\s+', ' ', _NUMBER.sub('0', line)).strip()
             for line in text.splitlines())
    return ''.join(f'{line}\n' for line in lines if line)


def _pattern(lines):
    """What the output must match, after _plain()."""
    pattern = ''
    for line in _plain('\n'.join(lines)).splitlines():
        pattern += r'(.*\n)*' if line == '...' else (
            '.*'.join(map(re.escape, line.split('...'))) + r'\n')
    return re.compile(pattern)


def _commands(start, lines):
    commands = []
    for number, line in enumerate(lines, start):
        match = _PROMPT.fullmatch(line)
        if match:
            commands.append(Command(number, match['host'], match['command'],
                                    []))
        elif commands:
            commands[-1].output.append(line)
        elif line.strip():
            raise ValueError(f'line {number}: no prompt: {line}')
    return commands


def _body(lines, place, indent):
    """The block below a directive: its options, where it begins, its text."""
    options, end = {}, place
    while end < len(lines) and (not lines[end].strip() or
                                lines[end].startswith(indent + '   ')):
        end += 1
    while place < end and lines[place].strip().startswith(':'):
        _, name, value = lines[place].split(':', 2)
        options[name.strip()] = value.strip()
        place += 1
    while place < end and not lines[place].strip():
        place += 1
    text = textwrap.dedent('\n'.join(lines[place:end])).rstrip() + '\n'
    return options, place + 1, text


def read(page):
    """All that a page has, in order."""
    lines = (PAGES / page).read_text(encoding='utf-8').split('\n')
    steps = []
    for number, line in enumerate(lines):
        happens = _HAPPENS.fullmatch(line)
        block = _BLOCK.fullmatch(line)
        if happens:
            steps.append(Happening(number + 1, happens[1]))
        if not block:
            continue
        options, start, text = _body(lines, number + 1, block[1])
        if block[2] == 'console':
            steps += _commands(start, text.rstrip('\n').split('\n'))
        elif 'caption' in options:
            steps.append(File(start, options['caption'], text))
    return steps
