# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a C program can say: the string literals of its source, and the function
that each is given to.
"""

import dataclasses
import re

_TOKEN = re.compile(
    r'(?P<comment>/\*.*?\*/|//[^\n]*)'
    r'|(?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)'
    r"|(?P<character>'(?:\\.|[^'\\])+')"
    r'|(?P<string>"(?:\\.|[^"\\])*")'
    r'|(?P<word>[A-Za-z_]\w*)'
    r'|(?P<mark>[^\s\w])', re.S | re.M)
_CONVERSION = re.compile(
    r'%(?:%|[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|ll|[hlzjt])?'
    r'[diouxXeEfgGcsp]?)')
_ESCAPE = re.compile(r'\\(.)', re.S)
_FORMATS = ('FORMAT', 'MODIFIER')


@dataclasses.dataclass(frozen=True)
class Literal:
    """
    A string literal, those beside it included.

    function  whose argument it is; '' outside of calls, where @field is the
              designated initialiser or the assigned variable, if any
    """

    file: str
    line: int
    function: str
    field: str
    text: str

    def is_text(self):
        """Whether it is more than a row of names."""
        return bool(self.field) or '%' in self.text or ' the ' in self.text

    def fixed_parts(self):
        """
        What is between the conversions, without white space around, and
        without the colon behind a name that everything begins with.
        """
        parts = (re.sub(r'\s+', ' ', part).strip()
                 for part in _CONVERSION.split(self.text))
        parts = [part for part in parts if part]
        if parts and self.text.startswith('%s: '):
            parts[0] = parts[0].removeprefix(':').strip()
        return [part for part in parts if part]


def _unescape(text):
    return _ESCAPE.sub(lambda match: {'n': '\n', 't': ' ', '0': ''}.get(
        match[1], match[1]), text)


class _Reader:
    def __init__(self, path):
        self._file = path.name
        self._stack = []        # names of functions; '{' for blocks
        self._word = ''
        self._field = ''
        self._parts = []
        self._start = 0
        self.found = []

    def _end_literal(self):
        if self._parts:
            calls = [name for name in self._stack if name]
            inner = calls[-1] if calls else ''
            self.found.append(Literal(
                self._file, self._start, '' if inner == '{' else inner,
                self._field, ''.join(self._parts)))
        self._parts = []

    def _take_mark(self, mark):
        self._end_literal()
        if mark == '(':
            self._stack.append(self._word)
        elif mark in '{[':
            self._stack.append('{' if mark == '{' else '')
        elif mark in ')}]' and self._stack:
            self._stack.pop()
        if mark == '=':
            self._field = self._word
        elif mark in ';{}':
            self._field = ''
        self._word = ''

    def take(self, kind, text, line):
        """The next token."""
        if kind == 'string':
            if not self._parts:
                self._start = line
            self._parts.append(_unescape(text[1:-1]))
        elif kind == 'word':
            # "%" G_GUINT64_FORMAT "x": the conversion goes on.
            if self._parts and text.endswith(_FORMATS):
                self._parts.append('d' if text.endswith('FORMAT') else '')
                return
            self._end_literal()
            self._word = text
        elif kind in ('mark', 'character'):
            self._take_mark(text if kind == 'mark' else '')


def literals(path):
    """All literals of a file, but those of directives."""
    text = path.read_text(encoding='utf-8')
    reader = _Reader(path)
    for match in _TOKEN.finditer(text):
        reader.take(match.lastgroup, match[0],
                    text.count('\n', 0, match.start()) + 1)
    return reader.found
