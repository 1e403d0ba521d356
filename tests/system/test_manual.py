# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the users' manual says is true: its commands are as they are typed, and
every message of colony has an entry. Nothing is started here;
test_manual_typed.py does what the manual says on real nodes.
"""

import re
import shlex
import shutil
import subprocess

import pytest

from colony_test import manual, messages, nodes, paths
from colony_test.manual import Command, File

PAGES = ('user/protect-a-vm.rst', 'user/troubleshooting.rst',
         'user/upgrading.rst', 'user/untrusted-network.rst')
DEADLINE = 20
USAGE, WRONG_FILE = 64, 65
CONFIG = '/etc/colony/db.conf'
KEYS = '/etc/colony/tls'

# --- commands ----------------------------------------------------------------


def commands(page):
    """What is typed on a page."""
    return [step for step in manual.read(page) if isinstance(step, Command)]


def file_text(caption, page=PAGES[0]):
    """A file that the guide has its reader write."""
    return next(step.text for step in manual.read(page)
                if isinstance(step, File) and step.caption == caption)


@pytest.fixture(name='config')
def fixture_config(tmp_path):
    """The guide's file; but its hosts are this one, where nobody listens."""
    reason = nodes.why_not()
    if reason:
        pytest.skip(reason)
    text = file_text(CONFIG)
    text = re.sub(r'192\.0\.2\.(\d)', r'127.0.0.\1\ncontrol-port=1', text)
    path = tmp_path / 'db.conf'
    path.write_text(text + '[node d]\nhost=127.0.0.4\ncontrol-port=1\n')
    return path


def run(config, line):
    """colony as a line of the manual has it, with another file."""
    words = shlex.split(line.partition(' > ')[0])
    done = subprocess.run(
        [nodes.COLONY, *words[1:]], check=False, text=True, timeout=DEADLINE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.replace(str(config), CONFIG)


def is_typed_to_colony(command):
    return shlex.split(command.text)[0] == 'colony' or \
        '-- colony' in command.text


def typed_lines():
    return sorted({command.text for page in PAGES for command in
                   commands(page) if is_typed_to_colony(command)})


@pytest.mark.parametrize('line', typed_lines())
def test_colony_understands_what_is_typed(line, config):
    line = line.partition('-- ')[2] if '-- colony' in line else line
    verb = line.split()[1]
    # The first never end by themselves.
    if verb in ('events', 'monitor'):
        words = shlex.split(line)
        assert len(words) == 3 and words[2] == CONFIG
        status, text = run(config, f'colony {verb} --help')
        assert status == 0 and 'FILE' in text
        return
    # A wait would be long, here.
    line = re.sub(r'--wait \d+', '--wait 0', line)
    status, text = run(config, line.replace(CONFIG, str(config)))
    assert status not in (USAGE, WRONG_FILE), text


def test_check_prints_what_is_printed(config):
    config.write_text(file_text(CONFIG))
    command = next(command for command in commands(PAGES[0])
                   if command.text == f'colony check {CONFIG}')
    status, text = run(config, f'colony check {config}')
    assert status == 0
    assert text == '\n'.join(command.output) + '\n'


def is_apt_right(words):
    ours = {f'./{line.split()[1]}_*.deb' for line in
            (paths.TOP / 'qemu/packaging/debian/control').read_text()
            .splitlines() if line.startswith('Package: ')}
    debians = {'bridge-utils', 'guestfs-tools', 'gnutls-bin'}
    return words[0] == 'install' and set(words[1:]) <= ours | debians


def is_systemctl_right(words):
    if words[0] == 'reboot':
        return set(words[1:]) <= {'--force'}
    options = {'enable': ['--now'], 'disable': ['--now']}.get(words[0], [])
    return words[0] in ('enable', 'disable', 'start', 'stop', 'restart',
                         'status') \
        and words[1:-1] == options and words[-1] in ('colony@db', 'networking')


def is_journalctl_right(words):
    return words[:2] == ['-u', 'colony@db'] and words[2:] in (
        [], ['-n', '20'], ['--since', 'today'], ['--since', 'yesterday'])


def is_virt_builder_right(words):
    flags = words[1::2]
    return words[0] == 'debian-12' and set(flags) == {
        '--size', '--output', '--hostname', '--root-password', '--install',
        '--upload', '--append-line', '--run-command'} and all(
            words[2 + place * 2].count(':') >= 1
            for place, flag in enumerate(flags)
            if flag in ('--upload', '--append-line'))


# What cannot be run everywhere, or to no use: at least its words are right.
OTHERS = {
    'apt-get': is_apt_right,
    'systemctl': is_systemctl_right,
    'journalctl': is_journalctl_right,
    'virt-builder': is_virt_builder_right,
    'scp': lambda words: len(words) >= 2 and re.fullmatch(
        r'([bcd]|desk):/(etc|var/lib)/colony/|[abc]:/etc/colony/tls/',
        words[-1]),
    'chown': lambda words: 'colony' in words,
    'truncate': lambda words: words[0] == '--size',
    'psql': lambda words: words[:5] == ['-h', '192.0.2.10', '-U', 'postgres',
                                        '-c'],
    'curl': lambda words: words[-1] == 'http://192.0.2.1:7003/metrics',
    'kill': lambda words: words == ['$(head', '-1',
                                    '/var/lib/colony/db/b/pid)'],
    'tail': lambda words: words[-1].endswith('/output'),
    'df': lambda words: words == ['/var/lib/colony'],
    'ip': lambda words: words == '-br link show master br0'.split(),
    'nc': lambda words: words == '-z -w 2 192.0.2.3 7002'.split(),
    'sha256sum': lambda words: words == [CONFIG],
    'dpkg': lambda words: words == ['-l', 'colony-qemu'],
    'socat': lambda words: words[-1].endswith('/console'),
    'certtool': lambda words: words[0].startswith('--generate-'),
    'psktool': lambda words: words == '--username qemu --pskfile keys.psk'
                                      .split(),
    'sh': lambda words: words[0] == 'certify' and len(words) == 3,
    'mkdir': lambda words: words == [KEYS],
    'cp': lambda words: words[-1] == KEYS + '/',
    'mv': lambda words: f'{KEYS}/' in words or f'{KEYS}/key.pem' in words,
    'chmod': lambda words: words == ['-R', 'go=', KEYS],
    'rm': lambda words: words == ['-r', 'a'],
}


@pytest.mark.parametrize('page', PAGES)
def test_other_programs_are_called_as_they_are(page):
    for command in commands(page):
        if not is_typed_to_colony(command):
            words = shlex.split(command.text)
            assert OTHERS[words[0]](words[1:]), \
                f'{page}:{command.line}: {command.text}'


def test_keys_are_made_as_it_is_told(tmp_path):
    page = 'user/untrusted-network.rst'
    for program in 'certtool', 'psktool':
        if not shutil.which(program):
            pytest.skip(f'{program} is missing: apt-get install gnutls-bin')
    for caption in 'ca.cfg', 'certify':
        (tmp_path / caption).write_text(file_text(caption, page))
    for command in commands(page):
        words = shlex.split(command.text)
        if words[0] in ('certtool', 'psktool', 'sh', 'rm'):
            subprocess.run(words, check=True, timeout=DEADLINE, cwd=tmp_path,
                           capture_output=True)
    subprocess.run(['certtool', '--verify', '--infile', 'a/cert.pem',
                    '--load-ca-certificate', 'ca-cert.pem'], check=True,
                   timeout=DEADLINE, cwd=tmp_path, capture_output=True)
    assert (tmp_path / 'keys.psk').read_text().startswith('qemu:')


def test_what_is_printed_may_differ_in_numbers_only():
    command = Command(1, 'a', 'colony status', [
        'db: HELD', '...', 'a    192.0.2.1  ...  the guest', '! b: 7 s'])
    assert command.prints('db: HELD\n  why\n\nNODE\n'
                          'a 192.0.2.1 leader the guest\n! b: 12.5 s\n')
    assert not command.prints('db: HELD\na 192.0.2.1 x the guests\n! b: 7 s')
    assert not command.prints('db: DOWN\na 192.0.2.1 x the guest\n! b: 7 s')
    assert not command.prints('db: HELD\na 192.0.2.1 x the guest\n! b: 7 s\n!')


# --- messages ----------------------------------------------------------------

# Of others: the kernel, and gannet.
FOREIGN = ('Cannot allocate memory', 'Address already in use',
           'Failed to get "write" lock',
           'the primary is of generation 4, this disk of 5')
SOURCE = paths.TOP / 'qemu/colony'
REFERENCE = 'reference/colony-errors.rst'
# No messages but screens, tables, help, names and other languages.
SCREENS = {'metrics-table.c', 'metrics-text.c', 'monitor-draw.c'}
NO_MESSAGES = {'printf', 'add', 'strchr', 'strstr', 'g_regex_new',
               'g_date_time_format', 'add_format', 'step'}


# What stands for anything where the pages quote a message.
EXAMPLE = re.compile(r'\b(?:[abc]|br0|3)\b|\(.*?\)|\.\.\.')
COMMAND = re.compile(r'(?:colony|ip|make|systemctl|apt-get|colony up) .*')


def is_message(literal):
    """Whether a person is told something: words, one after the other."""
    if literal.file in SCREENS or literal.function in NO_MESSAGES:
        return False
    if not literal.function and (
            literal.file == 'main.c' or literal.file == 'monitor-model.c' or
            literal.file.startswith('verb-') or not literal.is_text()):
        return False
    return any(re.search(r'[a-z]{2,} [a-z]{2,}', part)
               for part in literal.fixed_parts())


def said():
    """All messages of the program."""
    return [literal for path in sorted(SOURCE.glob('*.c'))
            for literal in messages.literals(path) if is_message(literal)]


def entries():
    """What the reference has between double quotes of its kind."""
    text = (manual.PAGES / REFERENCE).read_text(encoding='utf-8')
    return [' '.join(entry.split())
            for entry in re.findall(r'``(.+?)``', text, re.S)]


def is_in(literal, entry):
    """Whether an entry has all that does not differ, in its order."""
    return re.search('.*?'.join(map(re.escape, literal.fixed_parts())),
                     entry) is not None


def test_the_reader_of_sources_finds_messages(tmp_path):
    path = tmp_path / 'a.c'
    path.write_text('/* "no (text" */\n#include "x.h"\n'
                    'static const char *a = "one " /* in */ "two";\n'
                    'void f(void)\n{\n    say(g(1), "%s is\\n"\n'
                    '        " here %" G_GINT64_FORMAT ": %d", \'"\');\n}\n')
    found = messages.literals(path)
    assert [literal.text for literal in found] == [
        'one two', '%s is\n here %d: %d']
    assert [literal.function for literal in found] == ['', 'say']
    assert found[1].fixed_parts() == ['is here', ':']
    assert [literal.line for literal in found] == [3, 6]


def test_each_message_has_an_entry():
    known = entries()
    missing = [f'{literal.file}:{literal.line}: {literal.text!r}'
               for literal in said()
               if not any(is_in(literal, entry) for entry in known)]
    assert not missing, f'not in {REFERENCE}:\n' + '\n'.join(missing)


@pytest.mark.soak
def test_each_entry_is_said():
    """But for names, values and commands. What is old does no harm."""
    literals = [literal for path in sorted(SOURCE.glob('*.c'))
                for literal in messages.literals(path)
                if len(literal.text) > 3]
    strange = [entry for entry in entries()
               if re.search(r'[a-z]{3,} [a-z]{2,} [a-z]{2,}', entry) and
               not COMMAND.fullmatch(entry) and
               not any(is_in(literal, entry) for literal in literals
                       if max(map(len, literal.fixed_parts()), default=0) > 7)]
    assert not strange, 'nobody says:\n' + '\n'.join(strange)


@pytest.mark.parametrize('page', PAGES)
def test_who_searches_for_a_message_finds_it(page):
    text = (manual.PAGES / page).read_text(encoding='utf-8')
    known = entries()
    for entry in re.findall(r'``([^`]+)``', text):
        quoted = ' '.join(entry.split())
        if not re.search(r'[a-z]{3,} [a-z]{3,}', quoted) or \
                COMMAND.fullmatch(quoted) or quoted in FOREIGN:
            continue
        pattern = '.*'.join(re.escape(part.strip())
                            for part in EXAMPLE.split(quoted))
        assert any(re.search(pattern, name) for name in known), quoted
