"""A process that may open no socket to a network.

Its text is also run by processes that cannot import it, so it needs the standard library alone.
"""

import ctypes
import platform
import struct
import sys

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
"""Number of the system call that opens a socket."""

NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def forbid_network() -> bool:
    """Make the system end this process, also in native code, at its first socket to a network.

    Returns:
        Whether the system can do that.
    """
    call = SOCKET_CALL.get(platform.machine())
    if sys.platform != "linux" or call is None:
        return False
    # Load the number of the call, then its first argument; 2 is IPv4 and 10 is IPv6.
    program = ctypes.create_string_buffer(
        _instruction(0x20, 0, 0, 0)
        + _instruction(0x15, 0, 3, call)
        + _instruction(0x20, 0, 0, 16)
        + _instruction(0x15, 2, 0, 2)
        + _instruction(0x15, 1, 0, 10)
        + _instruction(0x06, 0, 0, 0x7FFF0000)
        + _instruction(0x06, 0, 0, 0x80000000)
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    rules = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 7, ctypes.addressof(program)))
    return not libc.prctl(SECCOMP, FILTER, rules, 0, 0)
