# SPDX-License-Identifier: GPL-2.0-or-later
"""
Bars, as SVG: no program is needed to draw them.
"""

from xml.sax.saxutils import escape

from .report import FOLDER

_COLOURS = ('#555555', '#c8a951', '#8c6bb1', '#d95f02', '#e7a977', '#1b9e77',
            '#1f78b4', '#a6cee3')
_BAR, _GAP, _HEIGHT, _LEFT, _TOP, _BOTTOM = 11, 18, 220, 64, 56, 120
_FONT = 'font-family="sans-serif" font-size="11"'


def _text(x, y, words, more=''):
    return f'<text x="{x:.0f}" y="{y:.0f}" {_FONT} {more}>' \
        f'{escape(words)}</text>'


class _Chart:
    """
    Groups of bars.  values: group -> bar -> number.
    """

    def __init__(self, title, unit, values):
        self._title = f'{title}, {unit}'
        self._values = values
        self._bars = list(dict.fromkeys(
            bar for group in values.values() for bar in group))
        self._most = max(number for group in values.values()
                         for number in group.values()) or 1
        self._group = _BAR * len(self._bars) + _GAP

    def _axis(self, width):
        lines = []
        for step in range(5):
            y = _TOP + _HEIGHT * (1 - step / 4)
            number = self._most * step / 4
            lines.append(f'<line x1="{_LEFT}" x2="{width - 10}" y1="{y:.0f}" '
                         f'y2="{y:.0f}" stroke="#dddddd"/>')
            lines.append(_text(_LEFT - 6, y + 4, f'{number:,.3g}'
                               if number < 100 else f'{number:,.0f}',
                               'text-anchor="end"'))
        return lines

    def _legend(self):
        lines, x = [], _LEFT
        for bar, colour in zip(self._bars, _COLOURS):
            lines.append(f'<rect x="{x}" y="30" width="10" height="10" '
                         f'fill="{colour}"/>')
            lines.append(_text(x + 14, 39, bar))
            x += 26 + 7 * len(bar)
        return lines, x

    def svg(self):
        """The picture."""
        legend, least = self._legend()
        width = max(_LEFT + self._group * len(self._values) + 20, least,
                    8 * len(self._title))
        height = _TOP + _HEIGHT + _BOTTOM
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
                 f'height="{height}" viewBox="0 0 {width} {height}">',
                 '<rect width="100%" height="100%" fill="white"/>',
                 _text(_LEFT, 18, self._title, 'font-weight="bold"'),
                 *legend, *self._axis(width)]
        for place, (group, numbers) in enumerate(self._values.items()):
            left = _LEFT + _GAP / 2 + place * self._group
            for bar, colour in zip(self._bars, _COLOURS):
                if bar in numbers:
                    size = _HEIGHT * numbers[bar] / self._most
                    x = left + _BAR * self._bars.index(bar)
                    lines.append(
                        f'<rect x="{x:.1f}" y="{_TOP + _HEIGHT - size:.1f}" '
                        f'width="{_BAR - 1}" height="{size:.1f}" '
                        f'fill="{colour}"><title>{escape(bar)}: '
                        f'{numbers[bar]:,.4g}</title></rect>')
            x, y = left + self._group / 2 - _GAP / 2, _TOP + _HEIGHT + 12
            lines.append(_text(x, y, group, 'text-anchor="end" transform='
                               f'"rotate(-35 {x:.0f} {y:.0f})"'))
        return '\n'.join([*lines, '</svg>']) + '\n'


def _work(params, workload):
    words = [workload, params.get('op'),
             f'{params["connections"]} conn.',
             f'x{params["pipeline"]}' if params['pipeline'] > 1 else None,
             f'{params["rate"]}/s' if 'rate' in params else None]
    return ' '.join(filter(None, words))


def _of(report, metric, only, label, key='value'):
    values = {}
    for row in report.rows:
        if row['metric'] == metric and only(row['params']):
            values.setdefault(label(row), {})[row['subject']] = row[key]
    return values


def _relative(values, base):
    """Everything as a share of @base, in %."""
    return {group: {bar: 100 * number / numbers[base]
                    for bar, number in numbers.items()}
            for group, numbers in values.items() if numbers.get(base)}


def write(report):
    """All plots of bench-presets; the paths."""
    def of_work(row):
        return _work(row['params'], row['workload'])

    def busy(params):
        return 'rate' not in params and params['vcpus'] == 1

    charts = {
        'throughput': ('Throughput', '% of unreplicated', _relative(
            _of(report, 'throughput', busy, of_work), 'unreplicated')),
        'latency': ('Latency, p99', 'ms', _of(
            report, 'latency', lambda params: 'rate' in params, of_work,
            'p99')),
        'vcpus': ('Throughput by vCPUs, 64 connections', 'requests/s', _of(
            report, 'throughput', lambda params:
            params['connections'] == 64 and params['pipeline'] == 1,
            lambda row: f'{row["workload"]} {row["params"].get("op", "")} '
            f'{row["params"]["vcpus"]} vCPUs')),
        'traffic': ('Between replicas', 'bytes/s', _of(
            report, 'traffic', lambda params: 'rate' in params, of_work)),
        'same-pages': ('Pages the same on both sides', '%', _of(
            report, 'same-page-rate', busy, of_work)),
        'outages': ('Longest time without an answer, median', 'ms', _of(
            report, 'failover-gap', lambda params: True,
            lambda row: f'{row["params"]["fault"]}, '
            f'{row["params"]["connections"]} conn.', 'p50'))}
    written = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (title, unit, values) in charts.items():
        if values:
            path = FOLDER / f'{report.name}-{name}.svg'
            path.write_text(_Chart(title, unit, values).svg())
            written.append(path)
    return written
