"""The filter, run by a small interpreter of classic BPF: every call of every kind gets the verdict it should."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.drivers.host.seccomp import DENIED, FAMILIES, MACHINES, PERSONALITIES, TERMINAL, program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
DENY = ERRNO | errno.EPERM


def verdict(machine, number, *arguments, audit=None):
    """What the kernel would answer, see Documentation/userspace-api/seccomp_filter.rst."""
    known = MACHINES[machine]
    padded = (*arguments, *([0] * (6 - len(arguments))))
    data = struct.pack("<IIQ6Q", number, known.audit if audit is None else audit, 0, *padded)
    code = program(machine)
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at, loaded = 0, 0
    while True:
        operation, then, otherwise, operand = steps[at]
        at += 1
        match operation:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += then if loaded == operand else otherwise
            case 0x35:
                at += then if loaded >= operand else otherwise
            case 0x45:
                at += then if loaded & operand else otherwise
            case 0x06:
                return operand
            case _:
                pytest.fail(f"unknown operation {operation:#x}")


@pytest.fixture(params=sorted(MACHINES))
def machine(request):
    return request.param


def test_all_that_is_listed_is_denied(machine):
    for name, numbers in DENIED.items():
        number = numbers[MACHINES[machine].column]
        if number is not None:
            assert verdict(machine, number) == DENY, name


@given(number=st.integers(0, 600), argument=st.integers(0, 2**64 - 1))
def test_all_else_is_allowed(number, argument):
    for name, known in MACHINES.items():
        looked_at = {known.clone, known.clone3, known.socket, known.ioctl, known.personality, known.fallocate}
        looked_at.add(known.socketpair)
        listed = {numbers[known.column] for numbers in DENIED.values()}
        if number not in looked_at | listed:
            assert verdict(name, number, argument, argument) == ALLOW


def test_another_architecture_is_killed(machine):
    assert verdict(machine, 1, audit=0x40000003) == KILL


def test_x32_calls_are_killed():
    assert verdict("x86_64", 0x40000000 | 165) == KILL


def test_clone3_sends_the_library_back_to_clone(machine):
    assert verdict(machine, MACHINES[machine].clone3) == ERRNO | errno.ENOSYS


@given(
    flag=st.sampled_from([0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]),
    more=st.integers(0, 0xFFFF),
)
def test_clone_makes_threads_and_processes_but_no_namespaces(flag, more):
    for machine, known in MACHINES.items():
        assert verdict(machine, known.clone, flag | more) == DENY
        assert verdict(machine, known.clone, more) == ALLOW
        assert verdict(machine, known.clone, 0x3D0F00) == ALLOW  # what pthread_create asks for


@given(family=st.integers(0, 60))
def test_sockets_of_listed_families_only(family):
    for machine, known in MACHINES.items():
        wanted = ALLOW if family in FAMILIES else ERRNO | errno.EAFNOSUPPORT
        assert verdict(machine, known.socket, family) == wanted


@given(family=st.integers(0, 2**32 - 1) | st.integers(0, 60))
def test_pairs_of_unix_sockets_only(family):
    for machine, number in (("x86_64", 53), ("aarch64", 199)):
        assert verdict(machine, number, family) == (ALLOW if family == 1 else ERRNO | errno.EAFNOSUPPORT)


@given(persona=st.integers(0, 2**32 - 1) | st.sampled_from([*PERSONALITIES, 0x0400000, 0x0040000, 0x400008]))
def test_no_personality_that_weakens_memory(persona):
    for machine, known in MACHINES.items():
        assert verdict(machine, known.personality, persona) == (ALLOW if persona in PERSONALITIES else DENY)


def test_room_on_a_disk_is_taken_by_writing_only(machine):
    assert verdict(machine, MACHINES[machine].fallocate, 1, 1, 0, 2**31) == ERRNO | errno.EOPNOTSUPP


@given(request=st.integers(0, 2**32 - 1) | st.sampled_from(TERMINAL))
def test_nobody_types_into_the_terminal(request):
    for machine, known in MACHINES.items():
        wanted = DENY if request in TERMINAL else ALLOW
        assert verdict(machine, known.ioctl, 0, request) == wanted
        assert verdict(machine, known.ioctl, 0, request | 1 << 40) == wanted  # the kernel looks at 32 bits


def test_an_unknown_machine_has_no_filter():
    assert program("riscv64") is None
