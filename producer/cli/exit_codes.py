"""The exit codes of `cutwork`, the same for every command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended.

    FAILED: images failed, a check failed, or a run was cancelled. WRONG_COMMAND: the command or a
    variable is wrong, so running it again unchanged gives the same. STOPPED: the command could not
    go on, for instance because the broker or S3 does not answer; run it again later.
    """

    OK = 0
    FAILED = 1
    WRONG_COMMAND = 2
    STOPPED = 3
    INTERRUPTED = 130
