# SPDX-License-Identifier: GPL-2.0-or-later
"""
The system-test library: hosts, virtual machines, faults and clients.

A test asks for a Lab (the fixture ``lab``), adds hosts to it, starts virtual
machines on them and clients in front of them, breaks things, and asserts
what an outside observer may rely on.  See ../README.rst.

  paths       where the programs and guest images are
  sandbox     everything a test starts dies with it
  lab         hosts joined by a network whose links can be cut or slowed
  cable       a slow or lossy link
  follow      wait for lines of a stream, act on them as they appear
  qmp         talk to a QEMU
  qemu        one QEMU process
  guest       boot the test guest in a QEMU
  colo        two of them as a COLO pair
  trio        two of them and a witness, who decide for themselves
  sniffer     who speaks for the guest
  disks       their disks, and who replicates them
  relay       ends their connection at a given byte of a sync
  service     ready-made guests
  recorder    a client that remembers what was acknowledged
  redis       one of Redis
  crowd       many of them, who write down every call and answer
  linear      judges what they wrote down
  talkers     clients of echo and nginx
  postgres    one of PostgreSQL
  sqlite      one of SQLite
  databases   all of them on a disk, and what tells whether it is whole
  programs    clients of the guest's helper programs
  faults      what may happen, where and when
  ordeal      the same for three replicas, and what must follow
  screen      what the demo shows
  diagnose    what to look at when a test failed
"""
