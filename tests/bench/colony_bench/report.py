# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a benchmark found: rows, written as JSON and shown as tables.
"""

import json

from . import TOP
from .stats import summary

FOLDER = TOP / 'build' / 'bench'


_UNITS = {'interval': '{} ms', 'connections': '{} conn.', 'rate': '{}/s',
          'smp': '{} vCPUs', 'memory': '{} MiB', 'threads': '{} threads',
          'size': '{} B', 'inflight': 'x{}', 'members': 'of {}',
          'streams': '{} at once', 'jobs': 'x{}', 'pipeline': 'x{}',
          'vcpus': '{} vCPUs'}
# What goes without saying.
_UNSAID = {'pipeline': 1, 'vcpus': 1}


def _digits(value):
    """Three significant digits, and no more than that of a small number."""
    if value is None:
        return '-'
    if value == 0 or abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def _label(row, fields):
    """What a line or column of a table says about the rows in it."""
    words = []
    for field in fields:
        value = row.get(field, row['params'].get(field))
        if value is None or value is False or _UNSAID.get(field) == value:
            continue
        words.append(field if value is True else
                     _UNITS.get(field, '{}').format(value))
    return ' '.join(words)


class Report:
    """The rows of one benchmark."""

    def __init__(self, name, meta):
        self.name = name
        self.meta = meta
        self.rows = []
        self._text = []

    def value(self, subject, workload, metric, unit, params, value):
        """Add a row with one value."""
        self._add(subject, workload, metric, unit, params, {'value': value})

    def samples(self, subject, workload, metric, unit, params, samples):
        """Add a row that sums up @samples; none when there are none."""
        if samples:
            self._add(subject, workload, metric, unit, params,
                      summary(samples))

    def summed(self, subject, workload, metric, unit, params, numbers):
        """Add a row with what is summed up in @numbers already."""
        self._add(subject, workload, metric, unit, params, numbers)

    def _add(self, subject, workload, metric, unit, params, numbers):
        self.rows.append({
            'subject': subject, 'workload': workload, 'metric': metric,
            'unit': unit, 'params': params,
            **{key: float(f'{number:.6g}') if isinstance(number, float)
               else number for key, number in numbers.items()}})

    def get(self, subject, workload, metric, params):
        """The row with just these; None if there is none."""
        for row in self.rows:
            if (row['subject'], row['workload'], row['metric'],
                    row['params']) == (subject, workload, metric, params):
                return row
        return None

    def text(self, text=''):
        """Add a line to the text."""
        self._text.append(text)

    def table(self, title, metric, lines, columns, show=('value',),
              percent_of=None, ratio=None, unit=None, only=None):
        """
        Add a table of the rows of @metric to the text.

        lines, columns  which members or params of a row make the label of
                        its line and of its column
        show            which of a row's numbers a cell holds
        percent_of      a column's label: other cells also say how much of it
                        their first number is
        unit            only the rows in this unit
        only            only the rows of which only(row) is true
        ratio           (column, column): one more column, the first's first
                        number over the second's
        """
        rows = [row for row in self.rows if row['metric'] == metric
                and unit in (None, row['unit'])
                and (only is None or only(row))]
        if not rows:
            return
        down = list(dict.fromkeys(_label(row, lines) for row in rows))
        across = list(dict.fromkeys(_label(row, columns) for row in rows))
        found = {}
        for row in rows:
            found.setdefault((_label(row, lines), _label(row, columns)), row)

        def first(line, column):
            return found.get((line, column), {}).get(show[0])

        def cell(line, column):
            row = found.get((line, column))
            if not row:
                return '-'
            text = ' / '.join(_digits(row[key]) for key in show)
            base = first(line, percent_of)
            if base and column != percent_of:
                text += f' ({100 * row[show[0]] / base:.0f} %)'
            return text

        heads = across + ([' : '.join(ratio)] if ratio else [])
        body = []
        for line in down:
            cells = [cell(line, column) for column in across]
            if ratio:
                over, under = (first(line, column) for column in ratio)
                cells.append(f'{over / under:.1f}' if over and under else '-')
            body.append([line or '-', *cells])
        keys = '' if show == ('value',) else f' ({" / ".join(show)})'
        self.text(f'{title}, {rows[0]["unit"]}{keys}')
        self.grid([['', *heads], *body])
        self.text()

    def grid(self, grid):
        """Add a table: lines of words; the first is the heads."""
        widths = [max(map(len, column)) for column in zip(*grid)]
        for cells in grid:
            rest = (cell.rjust(width)
                    for cell, width in zip(cells[1:], widths[1:]))
            self.text('  ' + '   '.join([cells[0].ljust(widths[0]), *rest]))

    def write(self):
        """Write both files and show the text; the path of the JSON."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f'{self.name}.json'
        path.write_text(json.dumps({'meta': self.meta, 'rows': self.rows},
                                   indent=1) + '\n')
        text = '\n'.join(self._text) + '\n'
        path.with_suffix('.txt').write_text(text)
        print(text, end='', flush=True)
        return path
