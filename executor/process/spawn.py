"""The program that starts processes for an executor, out of a process that is small: whatever forks itself has all its memory
written down anew, which of the executor's takes several times as long as all that comes after.

It runs in an interpreter of its own without eratos' packages (``python -I -S``); :mod:`spawner` asks it. Each process that it
starts is the executor's child and not its own, so nobody depends on how long it lives.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import marshal
import os
import signal
import socket
import struct
import sys
from typing import NoReturn

#: Descriptors below are for those that are started: nothing of our own may be where one of theirs has to be.
LOWEST = 10
#: How many descriptors come with one request at most: the request, where a fault is told, and those of the process.
MOST = 8

_PR_SET_CHILD_SUBREAPER = 36
#: The child's parent is who is ours (clone(2)).
_CLONE_PARENT = 0x8000
#: The call's number by processor; it is 120 on those that have 32 bits, and with the arguments the other way round on one.
_CLONE = {
    "x86_64": 56,
    "aarch64": 220,
    "riscv64": 220,
    "loongarch64": 220,
    "ppc64": 120,
    "ppc64le": 120,
    "s390x": 120,
}
_CLONE_32_BITS = 120

#: Signals that are ignored by Python, or were by whoever started the agent, such as nohup or a shell's background: a shell cannot
#: listen for them then, and an app may have its task sent each of them. Whoever ignores SIGCHLD cannot wait for its children.
_IGNORED_BY_ANCESTORS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)

_INT = struct.Struct("i")
_LIBRARY = ctypes.PyDLL(None, use_errno=True)
_LIBRARY.syscall.restype = ctypes.c_long


def main() -> None:
    """Serve the socket that is the standard input, until nobody is at its other end any more."""
    for number in _IGNORED_BY_ANCESTORS:
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/")
    channel = socket.socket(fileno=_raised(0))
    for number in (0, *range(3, LOWEST)):
        os.dup2(1, number, inheritable=False)
    gc.disable()
    gc.freeze()  # so that a child writes to as little memory as can be
    while True:
        # Not recv_fds, which leaves out the flag before Python 3.12: what it returned would be every child's.
        word, sent, _, _ = channel.recvmsg(1, socket.CMSG_LEN(MOST * _INT.size), socket.MSG_CMSG_CLOEXEC)
        if not word:
            return
        given = [number for _, _, data in sent for (number,) in _INT.iter_unpack(data)]
        child = _clone()
        if child == 0:
            _become(*given)
        for end in given:
            os.close(end)
        channel.send(_INT.pack(child))


def _raised(descriptor: int) -> int:
    """Return a copy of a descriptor above those that are for others."""
    copies = [os.dup(descriptor)]
    while copies[-1] < LOWEST:
        copies.append(os.dup(descriptor))
    for copy in copies[:-1]:
        os.close(copy)
    return copies[-1]


def _clone() -> int:
    """Start a process as :func:`os.fork` does, of our parent; return 0 in it, and its id, or what is wrong below 0, here."""
    machine = os.uname().machine
    number = _CLONE.get(machine, 0) if sys.maxsize > 2**32 else _CLONE_32_BITS
    if not number:
        return -errno.ENOSYS
    how = _CLONE_PARENT | signal.SIGCHLD
    arguments = (0, how) if machine == "s390x" else (how, 0)
    child = int(_LIBRARY.syscall(*map(ctypes.c_long, (number, *arguments, 0, 0, 0))))
    return child if child >= 0 else -ctypes.get_errno()


def _become(request: int, fault: int, *ends: int) -> NoReturn:
    """Become the program that is asked for, as whom orphans below are handed to; say what is in the way, if anything."""
    place = b""
    try:
        with os.fdopen(request, "rb") as file:
            args, env, folder, targets, account = marshal.load(file)
        os.setsid()
        _LIBRARY.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        place = folder
        os.chdir(folder)
        place = args[0]
        for target, end in zip(targets, ends, strict=True):
            os.dup2(end, target)
        if account is not None:
            uid, gid, groups = account
            os.setgroups(groups)
            os.setregid(gid, gid)
            os.setreuid(uid, uid)
        os.execve(args[0], args, dict(env))
    except OSError as error:
        os.write(fault, _INT.pack(error.errno or errno.EIO) + place)
    except ValueError:  # a NUL where none can be
        os.write(fault, _INT.pack(errno.EINVAL) + place)
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
